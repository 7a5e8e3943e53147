package usage

import (
	"fmt"
	"strings"
	"testing"

	"godwit/db/dbtest"
	"godwit/fault"
)

// TestImportOfTooMuch: lines that add up to more than a counter holds are
// refused, not turned round.
func TestImportOfTooMuch(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	one := h.sim(t, h.fleet(t, 1), "")
	text := "sim,time,upload,download\n" + strings.Repeat(fmt.Sprintf("%s,2026-11-20T09:30:00Z,%d,0\n", one.SID, int64(maxAmount)), 10_000)
	lines, err := ReadCSV(strings.NewReader(text))
	check(t, err)
	if _, err := h.Import(t.Context(), "", []byte(text), lines); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "line 3: ") {
		t.Errorf("imported: %.200v", err)
	}
	_, err = h.Import(t.Context(), "", []byte("one"), lines[:1])
	check(t, err)
	if up, _ := h.total(t, RecordFilter{}); up != maxAmount {
		t.Errorf("%d octets", up)
	}
}
