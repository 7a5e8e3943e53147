package remote

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"godwit/fault"
	"godwit/query"
	"godwit/web"
)

const (
	maxPage   = 1000
	maxExport = 20_000
)

// A resource is a kind of records, T in the store and to callers the JSON that
// show makes.
type resource[T any] struct {
	name   string // in cursors: those of one resource are no good for another
	schema *query.Schema
	page   func(ctx context.Context, account string, spec query.Spec) (query.Page[T], error)
	show   func(x T, customer int64) any
	empty  any // a record without values, for the names of its fields
}

// A filter reads parameters that choose records beside the query, as a query; it
// is empty where they choose nothing.
type filter func(r *web.Request) (string, error)

// numbered adds customer_id to a schema: all that a caller sees is of one account.
func numbered(s *query.Schema, customer int64) *query.Schema {
	own := *s
	own.Fields = append(slices.Clip(s.Fields), query.Field{Name: "customer_id", Kind: query.Number, SQL: "cast(" + strconv.FormatInt(customer, 10) + " as bigint)"})
	return &own
}

// A listing is what the parameters of a list ask for.
type listing struct {
	spec     query.Spec
	sizeText string
	customer int64
}

// readListing reads the parameters of lists and exports; cursor is nil for a
// first page.
func readListing[T any](d *Door, r *web.Request, res resource[T], filters []filter, cursor *string) (listing, error) {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return listing{}, err
	}
	var chosen []string
	for _, choose := range filters {
		condition, err := choose(r)
		if err != nil {
			return listing{}, err
		}
		if condition != "" {
			chosen = append(chosen, condition)
		}
	}
	schema, more := numbered(res.schema, customer), strings.Join(chosen, " and ")
	f, err := web.QueryForm(r)
	if err != nil {
		return listing{}, err
	}
	text, orderby, sizeText := f.String("query"), ordered(f.String("orderby"), f.String("order"), schema), f.String("size")
	if err := f.Err(); err != nil {
		return listing{}, err
	}
	l := listing{spec: query.Spec{Size: maxPage}, customer: customer}
	sized := f.Has("size")
	if sized {
		n, err := strconv.ParseUint(strings.TrimSpace(sizeText), 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) || n == 0 {
			return l, about(fault.Field("size", "must be a whole number from 1, not %.40q", sizeText), "size", sizeText)
		}
		l.spec.Size = int(min(n, maxExport)) // more digits than a number holds are many
		l.sizeText = sizeText
	}
	now := d.o.Now()
	// The caller's own text is read alone first: places of mistakes count in it.
	own, err := query.Parse(text, schema, now)
	if err != nil {
		return l, err
	}
	if text = strings.TrimSpace(text); own == nil {
		text = ""
	}
	switch {
	case more != "" && text != "":
		text = more + " and (" + text + ")"
	case more != "":
		text = more
	}
	if cursor != nil {
		c, err := openCursor(d, r.Caller.Account, res.name, *cursor)
		if err != nil {
			return l, err
		}
		if text != "" && text != c.Query {
			return l, about(fault.Field("cursor", "belongs to a list with another query"), "cursor", *cursor)
		}
		if o, err := query.ParseOrder(orderby, schema); err != nil {
			return l, err
		} else if orderby != "" && o.String() != c.Order {
			return l, about(fault.Field("cursor", "belongs to a list in another order"), "cursor", *cursor)
		}
		text, orderby, now, l.spec.After = c.Query, c.Order, c.Now, &c
		if !sized {
			l.spec.Size = c.Size
		}
	}
	if l.spec.Where, err = query.Parse(text, schema, now); err != nil {
		return l, err
	}
	if l.spec.Order, err = query.ParseOrder(orderby, schema); err != nil {
		return l, about(err, "orderby", orderby)
	}
	return l, nil
}

// ordered joins orderby with the parameter order, which is a direction for it or
// stands in its place. The documents have it for devices.
func ordered(orderby, order string, s *query.Schema) string {
	switch {
	case order == "":
		return orderby
	case strings.EqualFold(order, "asc"), strings.EqualFold(order, "desc"):
		return cmp.Or(orderby, s.Key) + " " + order
	case orderby == "" || orderby == order:
		return order
	}
	return orderby + " " + order // more than one field, which is refused
}

// cursorRow is what a cursor is sealed for: it is good in no other list.
func cursorRow(account, name string) string { return "cursor/" + account + "/" + name }

func openCursor(d *Door, account, name, text string) (query.Cursor, error) {
	refusal := about(fault.Field("cursor", "is not one that this list has given out"), "cursor", text)
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return query.Cursor{}, refusal
	}
	octets, err := d.o.DB.Unseal(cursorRow(account, name), sealed)
	if err != nil {
		return query.Cursor{}, refusal
	}
	c, err := query.ParseCursor(octets)
	if err != nil {
		return query.Cursor{}, refusal
	}
	return c, nil
}

// listOf answers with pages of a resource.
func listOf[T any](d *Door, res resource[T], filters ...filter) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) error { return writePage(d, w, r, res, filters) }
}

func writePage[T any](d *Door, w http.ResponseWriter, r *web.Request, res resource[T], filters []filter) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	cursor := f.Optional("cursor")
	if err := f.Err(); err != nil {
		return err
	}
	l, err := readListing(d, r, res, filters, cursor)
	if err != nil {
		return err
	}
	l.spec.Size = min(l.spec.Size, maxPage)
	page, err := res.page(r.Context(), r.Caller.Account, l.spec)
	if err != nil {
		return err
	}
	out := listJSON{Count: len(page.Items), Size: l.spec.Size, List: make([]any, len(page.Items))}
	for i, one := range page.Items {
		out.List[i] = res.show(one, l.customer)
	}
	if page.Next != nil {
		out.Cursor = base64.RawURLEncoding.EncodeToString(d.o.DB.Seal(cursorRow(r.Caller.Account, res.name), page.Next.Octets()))
		out.NextURI = r.URL.EscapedPath() + "?size=" + strconv.Itoa(l.spec.Size) + "&cursor=" + url.QueryEscape(out.Cursor)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// exportOf answers with the records of a resource as CSV.
func exportOf[T any](d *Door, res resource[T], filters ...filter) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) error { return writeTable(d, w, r, res, filters) }
}

func writeTable[T any](d *Door, w http.ResponseWriter, r *web.Request, res resource[T], filters []filter) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	wanted := f.String("fields")
	if err := f.Err(); err != nil {
		return err
	}
	all := columnsOf(res.empty)
	columns := all
	if strings.TrimSpace(wanted) != "" {
		columns = nil
		for name := range strings.SplitSeq(wanted, ",") {
			name = strings.TrimSpace(name)
			i := slices.IndexFunc(all, func(c column) bool { return strings.EqualFold(c.name, name) })
			if i < 0 {
				return about(fault.Field("fields", "has %.60q, which is none of %s", name, names(all)), "fields", wanted)
			}
			columns = append(columns, all[i])
		}
	}
	l, err := readListing(d, r, res, filters, nil)
	if err != nil {
		return err
	}
	size := maxExport
	if l.sizeText != "" {
		size = l.spec.Size
	}
	body := newTable(columns)
	truncated := false
	for left := size; left > 0; {
		l.spec.Size = min(left, maxPage)
		page, err := res.page(r.Context(), r.Caller.Account, l.spec)
		if err != nil {
			return err
		}
		for _, one := range page.Items {
			body.row(res.show(one, l.customer))
		}
		left -= len(page.Items)
		truncated = page.Next != nil
		if l.spec.After = page.Next; page.Next == nil {
			break
		}
	}
	if truncated {
		w.Header().Set("Truncated", "true")
	}
	return body.write(w)
}
