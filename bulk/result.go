package bulk

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"godwit/db"
	"godwit/printout"
	"godwit/sim"
)

// MaxSheet is how many profiles one PDF holds; its maker keeps all of it in
// memory.
const MaxSheet = 3000

// An Item is one profile of an order as the result shows it.
type Item struct {
	Line    int   // of the file, 0 where there was none
	Item    int64 // place in the order, from 1
	Label   string
	EID     string
	Type    string
	Profile sim.Profile // empty until it is reserved
}

// Activation returns the text of the item's QR code: its activation code, or
// the address alone where the EID finds the profile; nothing while there is no
// profile.
func (i Item) Activation() string {
	switch {
	case !i.Profile.Settled():
		return ""
	case i.Profile.MatchingID != "":
		return "LPA:" + i.Profile.ActivationCode()
	}
	return "LPA:1$" + i.Profile.Address + "$"
}

// name is a file name for the item.
func (i Item) name(total int64) string {
	return fmt.Sprintf("%0*d-%s", len(fmt.Sprint(total)), i.Item, i.Profile.ICCID)
}

// expand writes out a chunk's pieces item by item.
func expand(c chunk, pieces []piece) []Item {
	items := make([]Item, 0, c.items)
	for _, p := range pieces {
		for range p.count() {
			items = append(items, Item{Line: p.Line, Item: c.first + int64(len(items)), Label: p.Label, EID: p.EID, Type: p.Type})
		}
	}
	return items
}

// chunks reads an order's chunks that have items from first to last.
func (s *Store) chunks(ctx context.Context, order string, first, last int64) (list []chunk, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		list, err = db.All(ctx, q, func(r db.Row) (c chunk, err error) {
			err = r.Scan(&c.number, &c.first, &c.items)
			return c, err
		}, `select number, first, items from bulk_chunk
			where order_sid = $1 and first <= $2 and first + items > $3 order by number`, order, last, first)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read chunks: %w", err)
	}
	return list, nil
}

// lines returns a chunk's items without their profiles.
func (s *Store) lines(ctx context.Context, order string, c chunk) (items []Item, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		pieces, err := s.pieces(ctx, q, order, c.number)
		items = expand(c, pieces)
		return err
	})
	return items, err
}

// Each calls f for each item of an order from first to last, in their order. It
// reads a chunk at a time, so an order of any size will do.
func (s *Store) Each(ctx context.Context, o Order, first, last int64, f func(Item) error) error {
	chunks, err := s.chunks(ctx, o.SID, first, last)
	if err != nil {
		return err
	}
	for _, c := range chunks {
		items, err := s.lines(ctx, o.SID, c)
		if err != nil {
			return err
		}
		profiles, err := s.Sims.Items(ctx, o.SID, c.first, c.first+c.items-1)
		if err != nil {
			return fmt.Errorf("read profiles of %s: %w", o.SID, err)
		}
		for _, p := range profiles {
			items[p.Item-c.first].Profile = p
		}
		for _, item := range items {
			if item.Item < first || item.Item > last {
				continue
			}
			if err := f(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// Errors returns up to limit items of an order that have failed, behind a given
// item.
func (s *Store) Errors(ctx context.Context, o Order, after int64, limit int) ([]Item, error) {
	failed, err := s.Sims.FailedItems(ctx, o.SID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read failed items of %s: %w", o.SID, err)
	}
	var c chunk
	var lines, items []Item
	for _, p := range failed {
		if p.Item < c.first || p.Item >= c.first+c.items {
			found, err := s.chunks(ctx, o.SID, p.Item, p.Item)
			if err != nil || len(found) == 0 {
				return nil, fmt.Errorf("read the chunk of item %d of %s: %w", p.Item, o.SID, err)
			}
			c = found[0]
			if lines, err = s.lines(ctx, o.SID, c); err != nil {
				return nil, err
			}
		}
		item := lines[p.Item-c.first]
		item.Profile = p
		items = append(items, item)
	}
	return items, nil
}

var csvHeader = []string{
	"line", "item", "label", "status", "esim_profile_sid", "sim_sid", "iccid", "eid", "profile_type",
	"smdp_plus_address", "matching_id", "activation_code", "error_code", "error_message",
}

// row is an item's line of the result.
func row(o Order, i Item) []string {
	p := i.Profile
	status, eid := string(p.Status), p.EID
	if p.SID == "" {
		status, eid = string(Queued), i.EID
		if o.Status == Canceled || o.Status == Canceling {
			status = string(Canceled)
		}
	}
	line, iccid, matching, address := "", "", "", ""
	if i.Line > 0 {
		line = fmt.Sprint(i.Line)
	}
	if p.Settled() {
		iccid, matching, address = string(p.ICCID), string(p.MatchingID), p.Address
	}
	return []string{
		line, fmt.Sprint(i.Item), plain(i.Label), status, p.SID, p.SIM, iccid, eid, plain(i.Type),
		address, matching, i.Activation(), p.ErrorCode, p.ErrorMessage,
	}
}

// plain keeps spreadsheets from taking a customer's text for a formula.
func plain(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// WriteCSV writes the result of an order, one line for each profile, as far as
// it has got.
func (s *Store) WriteCSV(ctx context.Context, w io.Writer, o Order) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	out := csv.NewWriter(buffered)
	if err := out.Write(csvHeader); err != nil {
		return err
	}
	if err := s.Each(ctx, o, 1, o.Total, func(i Item) error { return out.Write(row(o, i)) }); err != nil {
		return err
	}
	if out.Flush(); out.Error() != nil {
		return out.Error()
	}
	return buffered.Flush()
}

// WriteZIP writes the result of an order as an archive: the CSV, and a QR code
// for each profile, in vectors, pixels or both.
func (s *Store) WriteZIP(ctx context.Context, w io.Writer, o Order, svg, png bool) error {
	out := zip.NewWriter(w)
	put := func(name string, content []byte, method uint16) error {
		f, err := out.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: o.UpdatedAt})
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return err
	}
	f, err := out.CreateHeader(&zip.FileHeader{Name: "results.csv", Method: zip.Deflate, Modified: o.UpdatedAt})
	if err != nil {
		return err
	}
	if err := s.WriteCSV(ctx, f, o); err != nil {
		return err
	}
	err = s.Each(ctx, o, 1, o.Total, func(i Item) error {
		text := i.Activation()
		if text == "" {
			return nil
		}
		code, err := printout.Encode(text)
		if err != nil {
			return err
		}
		if svg {
			if err := put("svg/"+i.name(o.Total)+".svg", code.SVG(), zip.Deflate); err != nil {
				return err
			}
		}
		if !png {
			return nil
		}
		picture, err := code.PNG(8)
		if err != nil {
			return err
		}
		return put("png/"+i.name(o.Total)+".png", picture, zip.Store)
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// WritePDF writes a sheet of the QR codes of up to [MaxSheet] profiles of an
// order, from one item on.
func (s *Store) WritePDF(ctx context.Context, w io.Writer, o Order, from, count int64) error {
	title := "Order " + o.SID
	if o.Label != "" {
		title = o.Label + " (" + o.SID + ")"
	}
	sheet := printout.NewSheet(title, o.UpdatedAt)
	err := s.Each(ctx, o, from, min(from+min(count, MaxSheet)-1, o.Total), func(i Item) error {
		text := i.Activation()
		if text == "" {
			return nil
		}
		words := []string{fmt.Sprintf("%d   %s", i.Item, i.Profile.ICCID)}
		if i.Label != "" {
			words = append(words, i.Label)
		} else if i.EID != "" {
			words = append(words, "EID "+i.EID)
		}
		// Apart, as phones ask for them where no camera helps.
		words = append(words, "SM-DP+ "+i.Profile.Address)
		if id := i.Profile.MatchingID; id != "" {
			words = append(words, "Code "+string(id))
		}
		return sheet.Add(text, words...)
	})
	if err != nil {
		return err
	}
	_, err = sheet.WriteTo(w)
	return err
}
