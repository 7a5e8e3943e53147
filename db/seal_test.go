package db_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"godwit/db"

	"pgregory.net/rapid"
)

func TestSeal(t *testing.T) {
	key := db.NewMasterKey()
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.String().Draw(t, "row")
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		sealed := key.Seal(row, plain)
		if len(plain) > 3 && bytes.Contains(sealed, plain) {
			t.Fatal("the plain octets are in the sealed value")
		}
		if bytes.Equal(sealed, key.Seal(row, plain)) {
			t.Fatal("sealed twice, the same octets")
		}
		got, err := key.Unseal(row, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("got %x, %v", got, err)
		}
		if _, err := key.Unseal(row+"x", sealed); !errors.Is(err, db.ErrSealed) {
			t.Fatalf("opened for another row: %v", err)
		}
		changed := bytes.Clone(sealed)
		at := rapid.IntRange(0, len(sealed)*8-1).Draw(t, "bit")
		changed[at/8] ^= 1 << (at % 8)
		if _, err := key.Unseal(row, changed); !errors.Is(err, db.ErrSealed) {
			t.Fatalf("opened with bit %d changed: %v", at, err)
		}
		cut := rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")
		if _, err := key.Unseal(row, sealed[:cut]); !errors.Is(err, db.ErrSealed) {
			t.Fatalf("opened cut to %d octets: %v", cut, err)
		}
	})
}

func TestMasterKeyRotation(t *testing.T) {
	old, fresh := db.NewMasterKey(), db.NewMasterKey()
	sealed := old.Seal("row", []byte("secret"))
	both, err := db.ParseMasterKey(fresh.Text() + "\n" + old.Text())
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := both.Unseal("row", sealed); err != nil || string(plain) != "secret" {
		t.Errorf("with the new key in front: %q, %v", plain, err)
	}
	if _, err := old.Unseal("row", both.Seal("row", nil)); !errors.Is(err, db.ErrSealed) {
		t.Errorf("the key in front does not seal: %v", err)
	}
	if _, err := fresh.Unseal("row", sealed); !errors.Is(err, db.ErrSealed) || !strings.Contains(err.Error(), old.Text()[:8]) {
		t.Errorf("without the old key: %v, want its id in the error", err)
	}
}

func TestParseMasterKey(t *testing.T) {
	id, hex := "0a1b2c3d", strings.Repeat("5c", 32)
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"one", id + ":" + hex, true},
		{"capitals", strings.ToUpper(id + ":" + hex), true},
		{"with a comment and blank lines", "# key\n\n" + id + ":" + hex + "\n", true},
		{"two, as in the environment", id + ":" + hex + ",00000001:" + hex, true},
		{"nothing", "", false},
		{"only a comment", "# key", false},
		{"no id", hex, false},
		{"short id", "0a1b:" + hex, false},
		{"short key", id + ":" + hex[2:], false},
		{"long key", id + ":" + hex + "00", false},
		{"no hex", id + ":" + strings.Repeat("zz", 32), false},
		{"the same id twice", id + ":" + hex + "\n" + id + ":" + hex, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := db.ParseMasterKey(tt.in)
			if (err == nil) != tt.ok {
				t.Errorf("error = %v, want ok %v", err, tt.ok)
			}
			if err != nil && strings.Contains(err.Error(), "5c5c") {
				t.Errorf("the key is in the error: %v", err)
			}
		})
	}
}

func TestMasterKeyFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "master.key")
	made, err := db.CreateMasterKey(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.CreateMasterKey(name); err == nil {
		t.Error("the file was overwritten")
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	loaded, err := db.LoadMasterKey(name)
	if err != nil || loaded.Text() != made.Text() {
		t.Errorf("loaded another key: %v", err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := db.LoadMasterKey(name); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
}

func TestSecretsPrintAsNothing(t *testing.T) {
	key := db.NewMasterKey()
	secret := db.Secret("hunter2")
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "secret", secret, "key", key, "inside", struct {
		S db.Secret
		K db.MasterKey
	}{secret, key})
	asJSON, err := json.Marshal(map[string]any{"s": secret, "k": key})
	if err != nil {
		t.Fatal(err)
	}
	text := log.String() + string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
		text += fmt.Sprintf(verb+verb+verb, secret, key, []any{secret, key})
	}
	for _, leak := range []string{"hunter2", "68756e", "104 117", "aHVudGVy", key.Text()[9:20]} {
		if strings.Contains(text, leak) {
			t.Errorf("%q is in %s", leak, text)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	key := db.NewMasterKey()
	f.Add("row", key.Seal("row", []byte("x")))
	f.Add("", []byte{1})
	f.Fuzz(func(t *testing.T, row string, sealed []byte) {
		if _, err := key.Unseal(row+"?", sealed); err == nil {
			t.Error("opened what was never sealed for this row")
		}
	})
}
