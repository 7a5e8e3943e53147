package sim

import (
	"crypto/rand"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"godwit/fault"
	"godwit/ident"
)

// CardColumns are the columns of a list of cards, in any order.
var CardColumns = []struct{ Name, Meaning string }{
	{"iccid", "19 or 20 digits with their check digit; required"},
	{"imsi", "6 to 15 digits; required"},
	{"k", "32 hexadecimal digits (64 are possible with TUAK); required"},
	{"opc", "32 hexadecimal digits, or 64 of TOPc with TUAK; required"},
	{"code", "registration code, 10 letters and digits; made up when empty"},
	{"msisdn", "telephone number"},
	{"eid", "32 digits: a profile that is on this eUICC already"},
}

const (
	codeLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // no I, L, O, U
	codeLen     = 10
)

// freshCode makes a registration code of 50 random bits.
func freshCode() []byte {
	b := make([]byte, codeLen)
	rand.Read(b)
	for i := range b {
		b[i] = codeLetters[b[i]%32]
	}
	return b
}

// ReadCards reads a list of cards: CSV with commas or semicolons, whose first
// line names the columns. The refusal names every line that is wrong, up to a
// hundred.
func ReadCards(r io.Reader) ([]Card, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read the list: %w", err)
	}
	lines := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(text), "\uFEFF")))
	head, _, _ := strings.Cut(string(text), "\n")
	if strings.Contains(head, ";") {
		lines.Comma = ';'
	}
	names, err := lines.Read()
	if err != nil {
		return nil, fault.New(fault.Invalid, "the list has no line that names the columns: %v", err)
	}
	at := map[string]int{}
	for i, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		known := false
		for _, c := range CardColumns {
			known = known || c.Name == name
		}
		if _, twice := at[name]; twice || !known {
			return nil, fault.New(fault.Invalid, "line 1: column %q is unknown or there twice", name)
		}
		at[name] = i
	}
	for _, name := range []string{"iccid", "imsi", "k", "opc"} {
		if _, ok := at[name]; !ok {
			return nil, fault.New(fault.Invalid, "line 1: column %q is missing", name)
		}
	}
	var cards []Card
	var wrong []string
	lineOf := map[ident.ICCID]int{}
	for len(wrong) < 100 {
		record, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "%v", err)
		}
		number, _ := lines.FieldPos(0)
		c, err := readCard(func(name string) string {
			if i, ok := at[name]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		})
		if err == nil && lineOf[c.ICCID] != 0 {
			err = fmt.Errorf("the iccid is that of line %d", lineOf[c.ICCID])
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("line %d: %v", number, err))
			continue
		}
		lineOf[c.ICCID] = number
		cards = append(cards, c)
	}
	if len(wrong) > 0 {
		return nil, fault.New(fault.Invalid, "%s", strings.Join(wrong, "\n"))
	}
	if len(cards) == 0 {
		return nil, fault.New(fault.Invalid, "the list holds no cards")
	}
	return cards, nil
}

func readCard(field func(string) string) (c Card, err error) {
	if c.ICCID, err = ident.ParseICCID(field("iccid")); err != nil {
		return c, fmt.Errorf("iccid: %w", err)
	}
	if c.IMSI, err = ident.ParseIMSI(field("imsi")); err != nil {
		return c, fmt.Errorf("imsi: %w", err)
	}
	// Keys are never repeated in messages.
	if c.K, err = hex.DecodeString(field("k")); err != nil || len(c.K) != 16 && len(c.K) != 32 {
		return c, errors.New("k: must be 32 or 64 hexadecimal digits")
	}
	if c.OPc, err = hex.DecodeString(field("opc")); err != nil || len(c.OPc) != 16 && len(c.OPc) != 32 {
		return c, errors.New("opc: must be 32 or 64 hexadecimal digits")
	}
	if len(c.K) == 32 && len(c.OPc) == 16 {
		return c, errors.New("k: 64 digits are for TUAK, whose topc has 64 too")
	}
	c.Code = []byte(field("code"))
	if len(c.Code) == 0 {
		c.Code = freshCode()
	}
	if len(c.Code) != codeLen {
		return c, fmt.Errorf("code: must be %d letters and digits", codeLen)
	}
	for _, b := range c.Code {
		if (b < '0' || b > '9') && (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') {
			return c, fmt.Errorf("code: must be %d letters and digits", codeLen)
		}
	}
	c.MSISDN = strings.TrimPrefix(field("msisdn"), "+")
	if strings.Trim(c.MSISDN, "0123456789") != "" || len(c.MSISDN) > 15 {
		return c, errors.New("msisdn: must be at most 15 digits")
	}
	if eid := field("eid"); eid != "" {
		if c.EID, err = ident.ParseEID(eid); err != nil {
			return c, fmt.Errorf("eid: %w", err)
		}
	}
	return c, nil
}
