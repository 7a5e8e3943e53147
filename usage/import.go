package usage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/sim"
)

// A Line is one row of an import: what a subscriber used at a time. Amounts
// are of that row alone, not counters.
type Line struct {
	Number     int    // where it stood, for messages
	SIM        string // SID, instead of a subscriber
	Subscriber Subscriber
	At         time.Time
	Network    ident.PLMN
	Upload     int64
	Download   int64
}

// MaxLines is how many lines one import may have.
const MaxLines = 200_000

// maxProblems is how many wrong lines a refusal names.
const maxProblems = 20

// Problems are the lines of an import that cannot be taken. Nothing of the
// import was.
type Problems struct {
	lines []string
	more  int
}

func (p *Problems) add(line int, format string, args ...any) {
	if len(p.lines) == maxProblems {
		p.more++
		return
	}
	p.lines = append(p.lines, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
}

// refusal returns the problems as a refusal, nil if there are none.
func (p *Problems) refusal() error {
	if len(p.lines) == 0 {
		return nil
	}
	text := strings.Join(p.lines, "; ")
	if p.more > 0 {
		text += fmt.Sprintf("; and %d more lines", p.more)
	}
	return fault.New(fault.Invalid, "nothing was imported: %s", text)
}

// columns of an import, in CSV's heading and as JSON's names.
var importColumns = []string{"sim", "iccid", "imsi", "msisdn", "time", "upload", "download", "network"}

// ReadCSV reads an import as CSV with a heading: time, upload and download, and
// one at least of sim, iccid, imsi and msisdn; network may be there.
func ReadCSV(r io.Reader) ([]Line, error) {
	in := csv.NewReader(bufio.NewReader(r))
	in.TrimLeadingSpace = true
	heading, err := in.Read()
	if err != nil {
		return nil, fault.New(fault.Invalid, "the file has no heading such as iccid,time,upload,download: %v", err)
	}
	at := map[string]int{}
	for i, name := range heading {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if !slices.Contains(importColumns, name) {
			return nil, fault.New(fault.Invalid, "line 1: column %.40q is none of %s", name, strings.Join(importColumns, ", "))
		}
		at[name] = i
	}
	var lines []Line
	var wrong Problems
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "nothing was imported: %v", err)
		}
		number, _ := in.FieldPos(0)
		if len(lines) == MaxLines {
			return nil, tooMany()
		}
		lines = append(lines, readLine(number, func(name string) string {
			if i, ok := at[name]; ok {
				return strings.TrimSpace(cells[i])
			}
			return ""
		}, &wrong))
	}
	return lines, wrong.refusal()
}

// ReadJSON reads an import as a JSON list of objects with the names of the
// columns. Amounts are numbers or texts.
func ReadJSON(r io.Reader) ([]Line, error) {
	in := json.NewDecoder(r)
	in.UseNumber()
	if t, err := in.Token(); err != nil || t != json.Delim('[') {
		return nil, fault.New(fault.Invalid, "the import is no JSON list of objects")
	}
	var lines []Line
	var wrong Problems
	for number := 1; in.More(); number++ {
		var object map[string]any
		if err := in.Decode(&object); err != nil {
			return nil, fault.New(fault.Invalid, "nothing was imported: item %d is no JSON object: %v", number, err)
		}
		if len(lines) == MaxLines {
			return nil, tooMany()
		}
		for name, v := range object {
			switch v.(type) {
			case string, json.Number, nil:
			default:
				wrong.add(number, "%.40s is neither a text nor a number", name)
			}
			if !slices.Contains(importColumns, name) {
				wrong.add(number, "%.40q is none of %s", name, strings.Join(importColumns, ", "))
			}
		}
		lines = append(lines, readLine(number, func(name string) string {
			if v, ok := object[name]; ok && v != nil {
				return strings.TrimSpace(fmt.Sprint(v))
			}
			return ""
		}, &wrong))
	}
	if _, err := in.Token(); err != nil {
		return nil, fault.New(fault.Invalid, "nothing was imported: the JSON list does not end: %v", err)
	}
	return lines, wrong.refusal()
}

func tooMany() error {
	return fault.New(fault.Invalid, "an import has at most %d lines; split it", MaxLines)
}

// readLine reads one row and notes what is wrong with it.
func readLine(number int, cell func(string) string, wrong *Problems) Line {
	l := Line{Number: number, SIM: cell("sim")}
	var err error
	if v := cell("iccid"); v != "" {
		if l.Subscriber.ICCID, err = ident.ParseICCID(v); err != nil {
			wrong.add(number, "iccid: %v", err)
		}
	}
	if v := cell("imsi"); v != "" {
		if l.Subscriber.IMSI, err = ident.ParseIMSI(v); err != nil {
			wrong.add(number, "imsi: %v", err)
		}
	}
	if v := cell("msisdn"); v != "" {
		var ok bool
		if l.Subscriber.MSISDN, ok = ParseMSISDN(v); !ok {
			wrong.add(number, "msisdn: must be 5 to 15 digits, not %.40q", v)
		}
	}
	if l.SIM != "" && !sim.IsSID(l.SIM, sim.SimPrefix) {
		wrong.add(number, "sim: must be the SID of a Sim, not %.40q", l.SIM)
	}
	if l.SIM == "" && cell("iccid")+cell("imsi")+cell("msisdn") == "" {
		wrong.add(number, "one of sim, iccid, imsi and msisdn must be given")
	}
	if l.At, err = time.Parse(time.RFC3339Nano, cell("time")); err != nil {
		wrong.add(number, "time: must be a date and time such as 2026-11-20T10:00:00Z, not %.40q", cell("time"))
	}
	if v := cell("network"); v != "" {
		if l.Network, err = ident.ParsePLMN(v); err != nil {
			wrong.add(number, "network: %v", err)
		}
	}
	for _, one := range []struct {
		name string
		to   *int64
	}{{"upload", &l.Upload}, {"download", &l.Download}} {
		v := cell(one.name)
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 || n > maxAmount {
			wrong.add(number, "%s: must be a whole number of octets from 0 to %d, not %.40q", one.name, int64(maxAmount), v)
			continue
		}
		*one.to = n
	}
	return l
}

// maxAmount is the most that one line of an import, one Sim in an hour of it, or
// one session may have: a petabyte. It is far from what a counter holds, so that no
// sum of counters overflows.
const maxAmount = 1_000_000_000_000_000

// Imported says what became of an import.
type Imported struct {
	Lines    int
	Repeated bool // it was imported before, and nothing was counted again
}

// Import counts the lines of a file, all or none. The same content given again
// changes nothing. It is for Sims of an account and its subaccounts; an empty
// account may name every Sim.
func (s *Store) Import(ctx context.Context, owner string, content []byte, lines []Line) (done Imported, err error) {
	sum := sha256.Sum256(bytes.TrimSpace(content))
	digest := hex.EncodeToString(sum[:])
	now := s.now()
	done.Lines = len(lines)
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		done.Repeated = false
		result, err := tx.ExecContext(ctx, `insert into usage_import (account_sid, digest, records, created_at) values ($1, $2, $3, $4) on conflict do nothing`,
			owner, digest, len(lines), now.UnixMicro())
		if err != nil {
			return fmt.Errorf("note an import: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			done.Repeated = true
			return err
		}
		uses, err := s.uses(ctx, tx, owner, lines, now)
		if err != nil {
			return err
		}
		return s.Add(ctx, tx, uses)
	})
	return done, err
}

// uses finds the Sims of lines and adds up what belongs together.
func (s *Store) uses(ctx context.Context, q db.Query, owner string, lines []Line, now time.Time) ([]Use, error) {
	type key struct {
		sid     string
		hour    int64
		network ident.PLMN
	}
	type who struct {
		sid        string
		subscriber Subscriber
	}
	var wrong Problems
	var order []key
	sums, sims := map[key]*Use{}, map[who]sim.Sim{}
	parents := map[string]bool{} // accounts that are this one's
	first := months(now.Truncate(24*time.Hour), -monthsKept)
	for _, l := range lines {
		if l.At.After(now.Add(latest)) || l.At.Before(first) {
			wrong.add(l.Number, "time: must be within the last %d months, not %s", monthsKept, l.At.Format(time.RFC3339))
			continue
		}
		id := who{l.SIM, l.Subscriber}
		one, known := sims[id]
		if !known {
			var err error
			if l.SIM != "" {
				one, err = s.Sims.BySID(ctx, q, l.SIM)
			} else {
				one, err = s.find(ctx, q, l.Subscriber)
			}
			if err == nil {
				var ours bool
				if ours, err = s.ours(ctx, q, owner, one.Account, parents); err == nil && !ours {
					err = fault.New(fault.NotFound, "not there")
				}
			}
			if fault.Is(err, fault.NotFound) {
				name := l.SIM
				if name == "" {
					name = l.Subscriber.String()
				}
				wrong.add(l.Number, "%s is no Sim's", name)
				continue
			}
			if err != nil {
				return nil, err
			}
			sims[id] = one
		}
		k := key{one.SID, l.At.Unix() / hour, l.Network}
		if sums[k] == nil {
			sums[k] = &Use{SIM: one, At: l.At, Network: l.Network}
			order = append(order, k)
		}
		if sum := sums[k]; max(sum.Upload+l.Upload, sum.Download+l.Download) > maxAmount {
			wrong.add(l.Number, "upload, download: with the lines before, one Sim has more than %d octets in one hour", int64(maxAmount))
			continue
		}
		sums[k].Upload += l.Upload
		sums[k].Download += l.Download
	}
	uses := make([]Use, len(order))
	for i, k := range order {
		uses[i] = *sums[k]
	}
	return uses, wrong.refusal()
}

// ours reports whether an account is the owner's own or a subaccount of it.
func (s *Store) ours(ctx context.Context, q db.Query, owner, sid string, known map[string]bool) (bool, error) {
	if owner == "" || sid == owner {
		return true, nil
	}
	if is, ok := known[sid]; ok {
		return is, nil
	}
	a, err := s.Sims.Accounts.Get(ctx, q, sid)
	if err != nil {
		return false, err
	}
	known[sid] = a.Parent == owner
	return known[sid], nil
}

// MayImport refuses accounts that may not tell what Sims have used: a
// customer's subaccount would write its own bill.
func (s *Store) MayImport(ctx context.Context, sid string) error {
	var a account.Account
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		a, err = s.Sims.Accounts.Get(ctx, q, sid)
		return err
	})
	if err == nil && a.Parent != "" {
		return fault.New(fault.Forbidden, "a subaccount cannot import usage; its main account can, for all of its subaccounts")
	}
	return err
}
