package smdp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/saip"
)

// An Item is one profile on its way into stock.
type Item struct {
	Type     string
	Personal saip.Personal
	line     int
}

// loadChunk is how many profiles one transaction stores: enough to be fast, few
// enough that downloads hardly notice.
const loadChunk = 1000

// staleLoad is how long a load may show no progress before it counts as
// interrupted, and what it left behind as rubbish.
const staleLoad = 30 * time.Second

// A LoadError lists what is wrong with the items of a load, by line.
type LoadError struct {
	Problems []LineProblem
	More     int // problems beyond those listed
}

// A LineProblem is what is wrong in one line.
type LineProblem struct {
	Line    int
	Problem string
}

func (e *LoadError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "line %d: %s", p.Line, p.Problem)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more lines with problems", e.More)
	}
	return b.String()
}

// maxProblems is how many lines a LoadError names.
const maxProblems = 50

func (e *LoadError) add(line int, format string, args ...any) {
	if len(e.Problems) == maxProblems {
		e.More++
		return
	}
	e.Problems = append(e.Problems, LineProblem{line, fmt.Sprintf(format, args...)})
}

func (e *LoadError) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	slices.SortStableFunc(e.Problems, func(a, b LineProblem) int { return cmp.Compare(a.Line, b.Line) })
	return e
}

// checkPersonal says what is wrong with the data of one profile of a type, or
// nil.
func (t *loadedType) checkPersonal(p *saip.Personal) error {
	switch {
	case p.ICCID == "":
		return errors.New("no ICCID")
	case p.IMSI == "":
		return errors.New("no IMSI")
	case len(p.K) == 0:
		return errors.New("no K")
	}
	// What the type says for all counts too.
	whole, err := readPersonal(t.defaults, p.ICCID, p.IMSI, p.MSISDN, appendPersonal(nil, p))
	if err != nil {
		return err
	}
	return t.template.Check(&whole)
}

// completePersonal makes up the codes that nobody gave: a card whose PUK or ADM
// code is that of every other card of its type has none.
func (t *loadedType) completePersonal(p *saip.Personal) {
	for _, code := range []struct {
		field         string
		value, common *string
	}{{"PUK1", &p.PUK1, &t.defaults.PUK1}, {"PUK2", &p.PUK2, &t.defaults.PUK2}, {"ADM1", &p.ADM1, &t.defaults.ADM1}} {
		if *code.value == "" && *code.common == "" && t.fields[code.field] {
			*code.value = randomDigits(8)
		}
	}
}

func randomDigits(n int) string {
	out := make([]byte, 0, n)
	var b [1]byte
	for len(out) < n {
		rand.Read(b[:])
		if b[0] < 250 { // the last six values would favour some digits
			out = append(out, '0'+b[0]%10)
		}
	}
	return string(out)
}

// A load brings profiles into stock in chunks. Nothing of it can be ordered, or
// is shown, before the one transaction that makes all of it visible.
type load struct {
	s       *Server
	id      string
	owner   string
	source  string
	batches map[string]string // profile type → batch
	chunk   []Item
	stored  int
	failed  LoadError
	done    func(stored int)
}

// beginLoad clears away what interrupted loads have left, and begins one.
func (s *Server) beginLoad(ctx context.Context, owner, source string, done func(stored int)) (*load, error) {
	if owner != "" {
		if _, err := s.operatorByID(ctx, owner); err != nil {
			return nil, err
		}
	}
	if err := s.clearStale(ctx); err != nil {
		return nil, err
	}
	if done == nil {
		done = func(int) {}
	}
	return &load{s: s, id: s.out.newID(), owner: owner, source: source, batches: map[string]string{}, done: done}, nil
}

// clearStale deletes the loads that have shown no progress for a while: the
// process that ran them is gone.
func (s *Server) clearStale(ctx context.Context) error {
	var stale []string
	err := s.db.Read(ctx, func(q db.Query) (err error) {
		stale, err = db.All(ctx, q, db.Only[string], `select id from stock_batch where not visible and beat_at < $1`, s.now()-staleLoad.Microseconds())
		return err
	})
	if err != nil {
		return fmt.Errorf("look for interrupted loads: %w", err)
	}
	for _, batch := range stale {
		if err := s.deleteBatch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// deleteBatch deletes a batch that was never visible.
func (s *Server) deleteBatch(ctx context.Context, batch string) error {
	for {
		var deleted bool
		err := s.db.Write(ctx, func(tx *db.Tx) (err error) {
			deleted, err = changed(tx.ExecContext(ctx, `delete from profile where iccid in
				(select iccid from profile where batch = $1 limit 2000)`, batch))
			if err != nil || deleted {
				return err
			}
			_, err = tx.ExecContext(ctx, `delete from stock_batch where id = $1 and not visible`, batch)
			return err
		})
		if err != nil {
			return fmt.Errorf("clear away interrupted load: %w", err)
		}
		if !deleted {
			return nil
		}
	}
}

// add takes one item, and stores a chunk when one is full.
func (l *load) add(ctx context.Context, item Item) error {
	l.chunk = append(l.chunk, item)
	if len(l.chunk) < loadChunk {
		return nil
	}
	return l.flush(ctx)
}

const insertWidth = 8

func (l *load) flush(ctx context.Context) error {
	if len(l.chunk) == 0 {
		return nil
	}
	now := l.s.now()
	type row struct {
		args []any
		line int
	}
	rows := make([]row, len(l.chunk))
	fresh := map[string]string{}
	for i := range l.chunk {
		item := &l.chunk[i]
		p := &item.Personal
		batch, ok := l.batches[item.Type]
		if !ok {
			if batch, ok = fresh[item.Type]; !ok {
				batch = l.s.out.newID()
				fresh[item.Type] = batch
			}
		}
		sealed := l.s.db.Seal(secretsRow(p.ICCID), appendPersonal(nil, p))
		rows[i] = row{[]any{string(p.ICCID), item.Type, batch, l.owner, string(p.IMSI), p.MSISDN, sealed, now}, item.line}
	}
	var taken []int
	err := l.s.db.Write(ctx, func(tx *db.Tx) error {
		taken = nil
		for profileType, batch := range fresh {
			if _, err := tx.ExecContext(ctx, `insert into stock_batch (id, load_id, profile_type, visible, source, beat_at, created_at)
				values ($1, $2, $3, $4, $5, $6, $6)`, batch, l.id, profileType, false, l.source, now); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `update stock_batch set beat_at = $1 where load_id = $2`, now, l.id); err != nil {
			return err
		}
		for chunk := range slices.Chunk(rows, 50) {
			args := make([]any, 0, len(chunk)*insertWidth)
			for _, r := range chunk {
				args = append(args, r.args...)
			}
			n, err := tx.Exec(ctx, `insert into profile (iccid, profile_type, batch, owner, imsi, msisdn, secrets, updated_at, state)
				values `+stockTuples(len(chunk))+` on conflict (iccid) do nothing`, args...)
			if err != nil {
				return err
			}
			if int(n) == len(chunk) {
				continue
			}
			// Some are there already. Those that are not in our batches are the others'.
			for _, r := range chunk {
				var batch string
				if err := tx.QueryRowContext(ctx, `select batch from profile where iccid = $1`, r.args[0]).Scan(&batch); err != nil {
					return err
				}
				if batch != r.args[2] {
					taken = append(taken, r.line)
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store stock: %w", err)
	}
	for profileType, batch := range fresh {
		l.batches[profileType] = batch
	}
	for _, line := range taken {
		i := slices.IndexFunc(l.chunk, func(item Item) bool { return item.line == line })
		l.failed.add(line, "ICCID %s is in stock already", l.chunk[i].Personal.ICCID)
	}
	l.stored += len(l.chunk)
	l.chunk = l.chunk[:0]
	l.done(l.stored)
	return nil
}

// stockTuples returns n tuples for the insert of stock.
func stockTuples(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + placeholders(1+i*insertWidth, insertWidth) + ", 'available')")
	}
	return b.String()
}

// finish makes everything visible at once, or takes everything back.
func (l *load) finish(ctx context.Context, failure error) (int, error) {
	if failure == nil {
		failure = l.flush(ctx)
	}
	if failure == nil {
		failure = l.failed.orNil()
	}
	if failure == nil {
		failure = l.s.db.Write(ctx, func(tx *db.Tx) error {
			result, err := tx.ExecContext(ctx, `update stock_batch set visible = $1, beat_at = $2 where load_id = $3`, true, l.s.now(), l.id)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err == nil && int(n) != len(l.batches) {
				err = errors.New("the load was taken for interrupted and cleared away; load again")
			}
			return err
		})
	}
	if failure == nil {
		return l.stored, nil
	}
	// Also when the caller has given up: what is stored would be in the way of
	// the next load.
	for _, batch := range l.batches {
		if err := l.s.deleteBatch(context.WithoutCancel(ctx), batch); err != nil {
			return 0, errors.Join(failure, err)
		}
	}
	return 0, failure
}

// A Range is stock to be made up.
type Range struct {
	Type   string
	Owner  string // operator whose stock it is; "" is anybody's
	ICCID  string // first number without its check digit: 18 or 19 digits; fewer are filled up with zeros
	IMSI   ident.IMSI
	MSISDN string // first number, or "" for none
	Count  int
	TUAK   bool
	SPN    string
}

// Generate makes profiles with consecutive numbers and random keys, and brings
// them into stock. It returns how many; done, which may be nil, hears how far it is.
func (s *Server) Generate(ctx context.Context, r Range, done func(stored int)) (int, error) {
	if r.Count < 1 || r.Count > 10_000_000 {
		return 0, fault.Field("count", "a range has 1 to 10,000,000 profiles, not %d", r.Count)
	}
	if missing := 18 - len(r.ICCID); missing > 0 && r.ICCID != "" {
		r.ICCID += strings.Repeat("0", missing)
	}
	t, err := s.loadType(ctx, r.Type)
	if errors.Is(err, errNoType) {
		return 0, fault.Field("type", "there is no profile type %q", r.Type)
	}
	if err != nil {
		return 0, err
	}
	for _, check := range []struct {
		field, first string
		min, max     int
	}{{"iccid", r.ICCID, 18, 19}, {"imsi", string(r.IMSI), 6, 15}} {
		if len(check.first) < check.min || len(check.first) > check.max || strings.Trim(check.first, "0123456789") != "" {
			return 0, fault.Field(check.field, "the first number has at most %d digits and nothing else, not %q", check.max, check.first)
		}
		if _, ok := plus(check.first, r.Count-1); !ok {
			return 0, fault.Field(check.field, "%d numbers from %s leave no digits", r.Count, check.first)
		}
	}
	plusSign := strings.HasPrefix(r.MSISDN, "+")
	msisdn := strings.TrimPrefix(r.MSISDN, "+")
	if strings.Trim(msisdn, "0123456789") != "" {
		return 0, fault.Field("msisdn", "a number is digits, with or without + in front")
	}
	l, err := s.beginLoad(ctx, r.Owner, "generated from "+r.ICCID, done)
	if err != nil {
		return 0, err
	}
	failure := func() error {
		for i := range r.Count {
			body, _ := plus(r.ICCID, i)
			iccid, err := ident.NewICCID(body)
			if err != nil {
				return err
			}
			imsi, _ := plus(string(r.IMSI), i)
			p := saip.Personal{ICCID: iccid, IMSI: ident.IMSI(imsi), K: random(16), OPc: random(16), SPN: r.SPN}
			if r.TUAK {
				p.Algorithm, p.K, p.OPc = saip.TUAK, random(32), random(32)
			}
			if msisdn != "" {
				number, ok := plus(msisdn, i)
				if !ok {
					return fault.Field("msisdn", "%d numbers from %s leave no digits", r.Count, r.MSISDN)
				}
				if p.MSISDN = number; plusSign {
					p.MSISDN = "+" + number
				}
			}
			t.completePersonal(&p)
			if i == 0 {
				if err := t.checkPersonal(&p); err != nil {
					return err
				}
			}
			if err := l.add(ctx, Item{Type: r.Type, Personal: p, line: i + 1}); err != nil {
				return err
			}
		}
		return nil
	}()
	return l.finish(ctx, failure)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// plus adds n to a decimal number and keeps its length, or returns false when
// that is too short.
func plus(digits string, n int) (string, bool) {
	out := []byte(digits)
	for i := len(out) - 1; n > 0; i-- {
		if i < 0 {
			return "", false
		}
		n += int(out[i] - '0')
		out[i] = byte('0' + n%10)
		n /= 10
	}
	return string(out), true
}

// A Filter chooses profiles to list. Zero fields do not restrict.
type Filter struct {
	State State
	Type  string
	EID   ident.EID
	After ident.ICCID // of the last one of the page before
	Limit int         // 0 means 100
}

// Profiles lists profiles in the order of their ICCIDs. Stock that is still
// being loaded is not there yet.
func (s *Server) Profiles(ctx context.Context, f Filter) (list []ProfileInfo, err error) {
	where := []string{`p.iccid > $1`, `exists (select 1 from stock_batch b where b.id = p.batch and b.visible)`}
	args := []any{string(f.After)}
	for _, c := range []struct{ column, value string }{{"state", string(f.State)}, {"profile_type", f.Type}, {"eid", string(f.EID)}} {
		if c.value != "" {
			args = append(args, c.value)
			where = append(where, fmt.Sprintf(`p.%s = $%d`, c.column, len(args)))
		}
	}
	if f.EID != "" {
		where = append(where, `p.eid <> ''`)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	args = append(args, limit)
	err = s.db.Read(ctx, func(q db.Query) error {
		rows, err := q.QueryContext(ctx, `select `+profileColumns+` from profile p where `+strings.Join(where, " and ")+
			fmt.Sprintf(` order by p.iccid limit $%d`, len(args)), args...)
		if err != nil {
			return fmt.Errorf("list profiles: %w", err)
		}
		defer rows.Close()
		list = nil
		for rows.Next() {
			var p profile
			if err := rows.Scan(p.targets()...); err != nil {
				return fmt.Errorf("list profiles: %w", err)
			}
			list = append(list, p.info())
		}
		return rows.Err()
	})
	return list, err
}

// StockCount says how many profiles of one type are in one state.
type StockCount struct {
	Type  string `json:"type"`
	State State  `json:"state"`
	Count int    `json:"count"`
}

// Count counts profiles by type and state. It reads every row, so it is for
// people, not for programs.
func (s *Server) Count(ctx context.Context) (list []StockCount, err error) {
	err = s.db.Read(ctx, func(q db.Query) error {
		list, err = db.All(ctx, q, func(r db.Row) (c StockCount, err error) {
			err = r.Scan(&c.Type, &c.State, &c.Count)
			return c, err
		}, `select p.profile_type, p.state, count(*) from profile p
			join stock_batch b on b.id = p.batch and b.visible group by p.profile_type, p.state order by p.profile_type, p.state`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count profiles: %w", err)
	}
	return list, nil
}

// InStock returns how many profiles of a type an operator could order now, up to a limit.
func (s *Server) InStock(ctx context.Context, profileType string, limit int) (n int, err error) {
	err = s.db.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, `select count(*) from (select p.iccid from profile p
			where p.profile_type = $1 and p.state = 'available' and p.batch in
			(select id from stock_batch where profile_type = $1 and visible) limit $2) available`, profileType, limit).Scan(&n)
	})
	return n, err
}
