package db

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// Secret is key material or a credential. It prints and logs as a placeholder.
type Secret []byte

const placeholder = "[secret]"

// Format answers every verb alike.
func (Secret) Format(f fmt.State, _ rune)   { io.WriteString(f, placeholder) }
func (Secret) String() string               { return placeholder }
func (Secret) LogValue() slog.Value         { return slog.StringValue(placeholder) }
func (Secret) MarshalText() ([]byte, error) { return []byte(placeholder), nil }

// A MasterKey is one or more AES-256 keys by their ids. The first seals; all
// open, so that a key is replaced by putting a new one in front.
type MasterKey struct {
	keys []key
}

type key struct {
	id     string // 8 hex digits
	secret Secret // 32 octets
	aead   cipher.AEAD
}

const (
	keyIDLen  = 4 // octets
	keyLen    = 32
	sealForm  = 1
	nonceLen  = 12
	tagLen    = 16
	sealedMin = 1 + keyIDLen + nonceLen + tagLen
)

// Format answers every verb alike.
func (MasterKey) Format(f fmt.State, _ rune)   { io.WriteString(f, placeholder) }
func (MasterKey) String() string               { return placeholder }
func (MasterKey) LogValue() slog.Value         { return slog.StringValue(placeholder) }
func (MasterKey) MarshalText() ([]byte, error) { return []byte(placeholder), nil }

// IsZero reports whether there is no key at all.
func (k MasterKey) IsZero() bool { return len(k.keys) == 0 }

// NewMasterKey makes a key at random.
func NewMasterKey() MasterKey {
	var id [keyIDLen]byte
	secret := make([]byte, keyLen)
	rand.Read(id[:])
	rand.Read(secret)
	k, err := newKey(hex.EncodeToString(id[:]), secret)
	if err != nil {
		panic(err) // 32 octets always make an AES-256 key
	}
	return MasterKey{[]key{k}}
}

// ParseMasterKey reads keys as they are written in the master key file or in
// the environment: "ID:KEY" in hex (8 and 64 digits), one to a line or divided
// by commas, the one that seals first.
func ParseMasterKey(text string) (MasterKey, error) {
	var m MasterKey
	for n, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == ',' }) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, digits, ok := strings.Cut(line, ":")
		secret, err := hex.DecodeString(digits)
		if rawID, idErr := hex.DecodeString(id); !ok || err != nil || idErr != nil || len(rawID) != keyIDLen || len(secret) != keyLen {
			return MasterKey{}, fmt.Errorf("master key, entry %d: want 8 hex digits, a colon and 64 hex digits", n+1)
		}
		k, err := newKey(strings.ToLower(id), secret)
		if err != nil {
			return MasterKey{}, err
		}
		for _, other := range m.keys {
			if other.id == k.id {
				return MasterKey{}, fmt.Errorf("master key: id %s is there twice", k.id)
			}
		}
		m.keys = append(m.keys, k)
	}
	if m.IsZero() {
		return MasterKey{}, errors.New("master key: there is none in the text")
	}
	return m, nil
}

// LoadMasterKey reads the master key file. It refuses a file that others than
// its owner may read.
func LoadMasterKey(path string) (MasterKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return MasterKey{}, fmt.Errorf("master key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return MasterKey{}, fmt.Errorf("master key %s: its mode is %04o, so others can read it: chmod 600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return MasterKey{}, fmt.Errorf("master key: %w", err)
	}
	k, err := ParseMasterKey(string(text))
	if err != nil {
		return MasterKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// CreateMasterKey makes a key and writes it to a new file with mode 0600. It
// never overwrites: without the old key nothing sealed under it can be read.
func CreateMasterKey(path string) (MasterKey, error) {
	m := NewMasterKey()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return MasterKey{}, fmt.Errorf("master key %s exists already", path)
	}
	if err != nil {
		return MasterKey{}, fmt.Errorf("master key: %w", err)
	}
	_, err = fmt.Fprintf(f, "# Godwit's master key. Keep a copy apart from the database: without it the secrets in there are lost.\n%s\n", m.Text())
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(path)
		return MasterKey{}, fmt.Errorf("write master key: %w", err)
	}
	return m, nil
}

// Text returns the keys in the form that [ParseMasterKey] reads.
func (k MasterKey) Text() string {
	lines := make([]string, len(k.keys))
	for i, key := range k.keys {
		lines[i] = key.id + ":" + hex.EncodeToString(key.secret)
	}
	return strings.Join(lines, "\n")
}

// Seal encrypts plain under the master key with AES-256-GCM. rowID names the row and field
// ("account/AC…/token"): a sealed value that is moved to another place
// does not open. Octets: form 1, key id 4, nonce 12, ciphertext, tag 16.
func (k MasterKey) Seal(rowID string, plain []byte) []byte {
	if k.IsZero() {
		panic("db: Seal without a master key")
	}
	key := k.keys[0]
	out := make([]byte, 0, sealedMin+len(plain))
	out = append(out, sealForm)
	out = append(out, key.rawID()...)
	out = out[:len(out)+nonceLen]
	nonce := out[len(out)-nonceLen:]
	rand.Read(nonce)
	return key.aead.Seal(out, nonce, plain, key.additional(rowID))
}

// ErrSealed reports a sealed value that does not open: it was changed, belongs
// to another row, or was sealed under a key that is not there.
var ErrSealed = errors.New("sealed value does not open")

// Unseal opens what Seal made for the same rowID.
func (k MasterKey) Unseal(rowID string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealedMin || sealed[0] != sealForm {
		return nil, fmt.Errorf("%s: %w: not in the form of one", rowID, ErrSealed)
	}
	id := hex.EncodeToString(sealed[1 : 1+keyIDLen])
	for _, key := range k.keys {
		if key.id != id {
			continue
		}
		rest := sealed[1+keyIDLen:]
		plain, err := key.aead.Open(nil, rest[:nonceLen], rest[nonceLen:], key.additional(rowID))
		if err != nil {
			return nil, fmt.Errorf("%s: %w: changed, or of another row", rowID, ErrSealed)
		}
		return plain, nil
	}
	return nil, fmt.Errorf("%s: %w: master key %s is not among the keys given", rowID, ErrSealed, id)
}

// Seal encrypts a field of a row under the database's master key; see [MasterKey.Seal].
func (d *DB) Seal(rowID string, plain []byte) []byte { return d.keys.Seal(rowID, plain) }

// Unseal opens what Seal made for the same rowID.
func (d *DB) Unseal(rowID string, sealed []byte) ([]byte, error) { return d.keys.Unseal(rowID, sealed) }

// MasterKey returns the key that the database was opened with, for secrets
// that are kept beside it in files.
func (d *DB) MasterKey() MasterKey { return d.keys }

func newKey(id string, secret []byte) (key, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return key{}, fmt.Errorf("master key %s: %w", id, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return key{}, fmt.Errorf("master key %s: %w", id, err)
	}
	return key{id, secret, aead}, nil
}

func (k key) rawID() []byte {
	raw, _ := hex.DecodeString(k.id) // made from hex
	return raw
}

// additional binds a value to its key and row. The id has a fixed length, so
// no two pairs make the same octets.
func (k key) additional(rowID string) []byte { return append(k.rawID(), rowID...) }
