package smdp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"
	"godwit/saip"
)

const (
	goodK   = "000102030405060708090a0b0c0d0e0f"
	goodOPc = "cd63cb71954a9f4e48a5994e37a02baf"
)

// number returns the n-th ICCID of a test file.
func number(n int) ident.ICCID {
	iccid, err := ident.NewICCID(fmt.Sprintf("894400000%09d", n))
	if err != nil {
		panic(err)
	}
	return iccid
}

func TestImportCSV(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		ctx := t.Context()
		t.Run("every column", func(t *testing.T) {
			file := "\xEF\xBB\xBFICCID;IMSI;Ki;OPc;TOPc;Type;MSISDN;PIN1;PUK1;PIN2;PUK2;ADM1;ACC;SPN;SMSC;Seq\n" +
				fmt.Sprintf("%s;001010000000001;%s;%s;;full-usim-isim;+882200001;1234;11112222;4321;33334444;87654321;0002;My SIM;+491710760000;77\n",
					number(1), goodK, strings.ToUpper(goodOPc)) +
				fmt.Sprintf("%sF ; 001010000000002;%s;;%s;;;;;;;;;;;\n", number(2), goodK, goodOPc+goodOPc)
			n, err := w.server.ImportCSV(ctx, strings.NewReader(file), ImportOptions{Type: "minimal-usim"})
			if err != nil || n != 2 {
				t.Fatalf("%d profiles, %v", n, err)
			}
			p, err := w.server.Personal(ctx, number(1))
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(p.K) != goodK || hex.EncodeToString(p.OPc) != goodOPc || p.IMSI != "001010000000001" || p.MSISDN != "+882200001" ||
				p.PIN1 != "1234" || p.PUK1 != "11112222" || p.PIN2 != "4321" || p.PUK2 != "33334444" || p.ADM1 != "87654321" || p.ACC != 2 ||
				p.SPN != "My SIM" || p.SMSC != "+491710760000" || p.SEQ != 77 || p.Algorithm != 0 {
				t.Errorf("personal data are %#v with PIN1 %q, SPN %q, SEQ %d, ACC %d", p, p.PIN1, p.SPN, p.SEQ, p.ACC)
			}
			p, err = w.server.Personal(ctx, number(2))
			if err != nil {
				t.Fatal(err)
			}
			if p.Algorithm != saip.TUAK || len(p.OPc) != 32 || len(p.PUK1) != 8 || len(p.ADM1) != 8 {
				t.Errorf("TUAK: algorithm %d, TOPc of %d octets, PUK %q", p.Algorithm, len(p.OPc), p.PUK1)
			}
			if info, ok, _ := w.server.Profile(ctx, number(1)); !ok || info.Type != "full-usim-isim" || info.State != Available {
				t.Errorf("stored as %+v", info)
			}
		})
		t.Run("bad lines are named and nothing is stored", func(t *testing.T) {
			file := "iccid,imsi,k,opc,pin1\n" +
				fmt.Sprintf("%s,001010000000010,%s,%s,\n", number(10), goodK, goodOPc) +
				fmt.Sprintf("%s,001010000000011,%s,%s,\n", number(11)[:18]+"0", goodK, goodOPc) + // 3: check digit, or by chance right
				fmt.Sprintf("%s,00101,%s,%s,\n", number(12), goodK, goodOPc) + // 4
				fmt.Sprintf("%s,001010000000013,%s,%s,\n", number(13), goodK[:30], goodOPc) + // 5
				fmt.Sprintf("%s,001010000000014,%s,,\n", number(14), goodK) + // 6
				fmt.Sprintf("%s,001010000000015,%s,%s\n", number(15), goodK, goodOPc) + // 7
				fmt.Sprintf("%s,001010000000016,%s,%s,12\n", number(16), goodK, goodOPc) + // 8
				fmt.Sprintf("%s,001010000000017,%s,%s,\n", number(10), goodK, goodOPc) + // 9
				fmt.Sprintf("\"%s,001010000000018,%s,%s,\n", number(18), goodK, goodOPc) // 10
			_, err := w.server.ImportCSV(ctx, strings.NewReader(file), ImportOptions{Type: "minimal-usim"})
			bad, ok := errors.AsType[*LoadError](err)
			if !ok {
				t.Fatalf("error %v, want a list of lines", err)
			}
			lines := map[int]string{}
			for _, p := range bad.Problems {
				lines[p.Line] = p.Problem
			}
			for _, line := range []int{4, 5, 6, 7, 8, 9, 10} {
				if lines[line] == "" {
					t.Errorf("line %d is not named in:\n%v", line, bad)
				}
			}
			if lines[2] != "" || !strings.Contains(lines[9], "line 2") {
				t.Errorf("line 2: %q, line 9: %q", lines[2], lines[9])
			}
			if strings.Contains(bad.Error(), goodK) || strings.Contains(bad.Error(), goodK[:30]) {
				t.Error("the list shows a key")
			}
			if _, ok, _ := w.server.Profile(ctx, number(10)); ok {
				t.Error("a line of a bad file is in stock")
			}
		})
		for _, tt := range []struct{ name, file, want string }{
			{"empty", "", "empty"},
			{"head only", "iccid,imsi,k,opc\n", "no profiles"},
			{"unknown column", "iccid,imsi,k,opc,colour\n", `"colour"`},
			{"missing column", "iccid,imsi,opc\n", `"k"`},
			{"column twice", "iccid,imsi,k,Ki,opc\n", "twice"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				_, err := w.server.ImportCSV(ctx, strings.NewReader(tt.file), ImportOptions{Type: "minimal-usim"})
				if f, ok := fault.As(err); !ok || !strings.Contains(f.Message, tt.want) {
					t.Errorf("error %v, want one about %s", err, tt.want)
				}
			})
		}
		t.Run("unknown type", func(t *testing.T) {
			file := "iccid,imsi,k,opc\n" + fmt.Sprintf("%s,001010000000020,%s,%s\n", number(20), goodK, goodOPc)
			_, err := w.server.ImportCSV(ctx, strings.NewReader(file), ImportOptions{Type: "gold"})
			if err == nil || !strings.Contains(err.Error(), `"gold"`) {
				t.Errorf("error %v", err)
			}
		})
		t.Run("what the template has no place for", func(t *testing.T) {
			file := "iccid,imsi,k,opc,routing\n" + fmt.Sprintf("%s,001010000000021,%s,%s,1234\n", number(21), goodK, goodOPc)
			_, err := w.server.ImportCSV(ctx, strings.NewReader(file), ImportOptions{Type: "minimal-usim"})
			if err == nil || !strings.Contains(err.Error(), "line 2: ") {
				t.Errorf("error %v", err)
			}
		})
		t.Run("already in stock", func(t *testing.T) {
			var b strings.Builder
			b.WriteString("iccid,imsi,k,opc\n")
			for i := 1100; i > 0; i-- { // number(1) is there, in the second chunk
				fmt.Fprintf(&b, "%s,%015d,%s,%s\n", number(i), 1010000000000+i, goodK, goodOPc)
			}
			_, err := w.server.ImportCSV(ctx, strings.NewReader(b.String()), ImportOptions{Type: "minimal-usim"})
			bad, ok := errors.AsType[*LoadError](err)
			if !ok || len(bad.Problems) != 2 || bad.Problems[1].Line != 1101 {
				t.Fatalf("error %v, want lines 1100 and 1101", err)
			}
			if _, ok, _ := w.server.Profile(ctx, number(500)); ok {
				t.Error("a line of the file is in stock")
			}
			if info, ok, _ := w.server.Profile(ctx, number(1)); !ok || info.Type != "full-usim-isim" {
				t.Error("what was in stock before has changed")
			}
		})
		t.Run("interrupted", func(t *testing.T) {
			var b strings.Builder
			b.WriteString("iccid,imsi,k,opc\n")
			for i := 5000; i < 8000; i++ {
				fmt.Fprintf(&b, "%s,%015d,%s,%s\n", number(i), 1010000000000+i, goodK, goodOPc)
			}
			// The process dies after the first chunk: nothing clears up behind it.
			l, err := w.server.beginLoad(ctx, "", "test", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 5000; i < 6500; i++ {
				p := saip.Personal{ICCID: number(i), IMSI: "001010000000000", K: make([]byte, 16), OPc: make([]byte, 16)}
				if err := l.add(ctx, Item{Type: "minimal-usim", Personal: p, line: i}); err != nil {
					t.Fatal(err)
				}
			}
			if list, err := w.server.Profiles(ctx, Filter{Type: "minimal-usim", After: number(4999), Limit: 5}); err != nil || len(list) != 0 {
				t.Errorf("%d profiles of a load under way are shown (%v)", len(list), err)
			}
			if n, err := w.server.InStock(ctx, "minimal-usim", 10_000); err != nil || n != 1 {
				t.Errorf("%d profiles can be ordered (%v), want 1", n, err)
			}
			// While it might still be running, its numbers are taken.
			if _, err := w.server.ImportCSV(ctx, strings.NewReader(b.String()), ImportOptions{Type: "minimal-usim"}); err == nil {
				t.Error("two loads of the same numbers at once")
			}
			w.clock.Forward(time.Minute)
			n, err := w.server.ImportCSV(ctx, strings.NewReader(b.String()), ImportOptions{Type: "minimal-usim"})
			if err != nil || n != 3000 {
				t.Fatalf("%d profiles, %v", n, err)
			}
			// The one that was thought dead cannot make itself visible.
			if _, err := l.finish(ctx, nil); err == nil {
				t.Error("a load that was cleared away becomes visible")
			}
			if n, err := w.server.InStock(ctx, "minimal-usim", 10_000); err != nil || n != 3001 {
				t.Errorf("%d profiles can be ordered (%v), want 3001", n, err)
			}
		})
		t.Run("given up by the caller", func(t *testing.T) {
			given, giveUp := context.WithCancel(ctx)
			var b strings.Builder
			b.WriteString("iccid,imsi,k,opc\n")
			for i := 9000; i < 12000; i++ {
				fmt.Fprintf(&b, "%s,%015d,%s,%s\n", number(i), 1010000000000+i, goodK, goodOPc)
			}
			_, err := w.server.ImportCSV(given, strings.NewReader(b.String()), ImportOptions{Type: "minimal-usim", Stored: func(int) { giveUp() }})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that of the caller", err)
			}
			if n, err := w.server.ImportCSV(ctx, strings.NewReader(b.String()), ImportOptions{Type: "minimal-usim"}); err != nil || n != 3000 {
				t.Errorf("%d profiles, %v", n, err)
			}
		})
	})
}

func TestGenerate(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	ctx := t.Context()
	n, err := w.server.Generate(ctx, Range{Type: "full-usim-isim", ICCID: "894411", IMSI: "001010000000099", MSISDN: "+88220099", Count: 3, SPN: "Range"}, nil)
	if err != nil || n != 3 {
		t.Fatalf("%d profiles, %v", n, err)
	}
	list, err := w.server.Profiles(ctx, Filter{})
	if err != nil || len(list) != 3 {
		t.Fatalf("%d profiles, %v", len(list), err)
	}
	seen := map[string]bool{}
	for i, info := range list {
		if _, err := ident.ParseICCID(string(info.ICCID)); err != nil {
			t.Error(err)
		}
		if want := fmt.Sprintf("0010100000001%02d", (99+i)%100); i > 0 && string(info.IMSI) != want {
			t.Errorf("IMSI %s, want %s", info.IMSI, want)
		}
		p, err := w.server.Personal(ctx, info.ICCID)
		if err != nil || len(p.K) != 16 || len(p.OPc) != 16 || p.SPN != "Range" || seen[string(p.K)] || p.MSISDN != fmt.Sprint("+", 88220099+i) {
			t.Errorf("personal data %v with SPN %q, MSISDN %q (%v)", p, p.SPN, p.MSISDN, err)
		}
		seen[string(p.K)] = true
	}
	for _, tt := range []struct {
		field string
		r     Range
	}{
		{"type", Range{Type: "gold", ICCID: "894412", IMSI: "001010000000000", Count: 1}},
		{"count", Range{Type: "minimal-usim", ICCID: "894412", IMSI: "001010000000000"}},
		{"iccid", Range{Type: "minimal-usim", ICCID: "89441x", IMSI: "001010000000000", Count: 1}},
		{"iccid", Range{Type: "minimal-usim", ICCID: "999999999999999999", IMSI: "001010000000000", Count: 2}},
		{"imsi", Range{Type: "minimal-usim", ICCID: "894412", IMSI: "999999", Count: 2}},
		{"msisdn", Range{Type: "full-usim-isim", ICCID: "894412", IMSI: "001010000000000", MSISDN: "one", Count: 2}},
	} {
		if _, err := w.server.Generate(ctx, tt.r, nil); true {
			if f, ok := fault.As(err); !ok || f.Field != tt.field {
				t.Errorf("%+v: %v, want a refusal of %s", tt.r, err, tt.field)
			}
		}
	}
}

// Personal data come back as they were kept.
func TestPersonalRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9A-Za-z ]{0,12}`)
		octets := rapid.SliceOfN(rapid.Byte(), 0, 40)
		p := saip.Personal{
			ICCID: "8944000000000000017", IMSI: "001010000000001", MSISDN: text.Draw(t, "msisdn"),
			Algorithm: saip.Algorithm(rapid.IntRange(0, 3).Draw(t, "algorithm")), K: octets.Draw(t, "k"), OPc: octets.Draw(t, "opc"),
			SEQ: rapid.Uint64Max(1<<43-1).Draw(t, "seq"), MNCLength: rapid.IntRange(0, 3).Draw(t, "mnc"), ACC: rapid.Uint16().Draw(t, "acc"),
			PIN1: text.Draw(t, "pin1"), PUK1: text.Draw(t, "puk1"), PIN2: text.Draw(t, "pin2"), PUK2: text.Draw(t, "puk2"),
			ADM1: text.Draw(t, "adm1"), ADM2: text.Draw(t, "adm2"), SPN: text.Draw(t, "spn"), SMSC: text.Draw(t, "smsc"),
			RoutingIndicator: text.Draw(t, "routing"), IMPI: text.Draw(t, "impi"), Domain: text.Draw(t, "domain"),
			IMPU: rapid.SliceOfN(rapid.StringMatching(`sip:[a-z]{1,5}`), 0, 3).Draw(t, "impu"),
		}
		got, err := readPersonal(saip.Personal{}, p.ICCID, p.IMSI, p.MSISDN, appendPersonal(nil, &p))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []*saip.Personal{&p, &got} { // nil and empty say the same
			x.K, x.OPc = append([]byte{}, x.K...), append([]byte{}, x.OPc...)
			x.IMPU = append([]string{}, x.IMPU...)
		}
		if a, b := fmt.Sprintf("%+v", struct{ P personalFields }{personalFields(p)}), fmt.Sprintf("%+v", struct{ P personalFields }{personalFields(got)}); a != b {
			t.Errorf("%s\ncame back as\n%s", a, b)
		}
	})
}

// personalFields prints with its fields.
type personalFields saip.Personal

func FuzzReadPersonal(f *testing.F) {
	f.Add(appendPersonal(nil, &saip.Personal{K: make([]byte, 16), OPc: make([]byte, 16), PIN1: "0000", SEQ: 5}))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readPersonal(saip.Personal{}, "8944000000000000017", "001010000000001", "", data)
		if err != nil {
			return
		}
		if _, err := readPersonal(saip.Personal{}, p.ICCID, p.IMSI, p.MSISDN, appendPersonal(nil, &p)); err != nil {
			t.Errorf("what was read does not read again: %v", err)
		}
	})
}

func FuzzStockFile(f *testing.F) {
	f.Add("iccid,imsi,k,opc\n" + string(number(1)) + ",001010000000001," + goodK + "," + goodOPc + "\n")
	f.Add("\"iccid;imsi;k\n;;;\"")
	f.Fuzz(func(t *testing.T, file string) {
		eachLine(strings.NewReader(file), "t", func(item Item, problem error) error {
			if problem == nil && item.Personal.ICCID != "" {
				if _, err := ident.ParseICCID(string(item.Personal.ICCID)); err != nil {
					t.Error(err)
				}
			}
			return nil
		})
	})
}
