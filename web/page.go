package web

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
)

// A Page is the part of a list that a request asks for, in the Twilio way:
// PageSize, Page and PageToken. With a token the token decides the position and
// Page is only counted on. Without one, Page is an offset in pages: the vendors
// call it client state, but clients are known that page by counting it alone,
// and would never end on a server that ignored it.
type Page struct {
	Size     int
	Number   int    // Page, as sent
	Position string // of the item that the page follows, or precedes; empty without a token
	Backward bool   // the page precedes Position
}

// Offset returns how many items to pass over when there is no position.
func (p Page) Offset() int {
	if p.Position != "" {
		return 0
	}
	return p.Size * p.Number
}

const (
	defaultPageSize = 50
	// maxPage keeps offsets within what a database counts to.
	maxPage = 1 << 30
)

// Page reads the paging parameters of a query. A PageSize above the limit is
// cut to it.
func (f *Form) Page(limit int) Page {
	p := Page{Size: defaultPageSize, Number: int(f.Int("Page", 0, maxPage, 0))}
	if s := f.String("PageSize"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) || n == 0 {
			f.Fail("PageSize", "must be a whole number from 1 to %d, not %.40q", limit, s)
			n = defaultPageSize
		}
		p.Size = int(min(n, uint64(limit)))
	}
	if token := f.String("PageToken"); token != "" {
		var err error
		if p.Position, p.Backward, err = parseToken(token); err != nil {
			f.Fail("PageToken", "is not one that this list has given out")
		}
	}
	return p
}

// token writes a position as an opaque word of letters, digits, - and _. It
// holds no dot: one of the client libraries drops dots and digits after them.
func token(position string, backward bool) string {
	direction := "N"
	if backward {
		direction = "P"
	}
	return direction + base64.RawURLEncoding.EncodeToString([]byte(position))
}

func parseToken(s string) (position string, backward bool, err error) {
	if s == "" || (s[0] != 'N' && s[0] != 'P') {
		return "", false, fmt.Errorf("token %.40q has no direction", s)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s[1:])
	if err != nil || len(raw) == 0 || !storable(string(raw)) {
		return "", false, fmt.Errorf("token %.40q is malformed", s)
	}
	return string(raw), s[0] == 'P', nil
}

// Meta is the object of that name in every list. Its seven members are the
// contract.
type Meta struct {
	Page            int     `json:"page"`
	PageSize        int     `json:"page_size"`
	FirstPageURL    string  `json:"first_page_url"`
	PreviousPageURL *string `json:"previous_page_url"`
	URL             string  `json:"url"`
	NextPageURL     *string `json:"next_page_url"`
	Key             string  `json:"key"` // the name of the list beside it
}

// Meta returns the links of a page. first and last are the positions of its
// first and last item; more says that items follow it. Filters of the request
// are repeated in every link, as clients add nothing to them.
func (p Page) Meta(r *Request, key, first, last string, more bool) Meta {
	filters := r.URL.Query()
	for _, own := range []string{"Page", "PageSize", "PageToken"} {
		filters.Del(own)
	}
	all := r.Base + r.URL.EscapedPath() + "?"
	if len(filters) > 0 {
		all += filters.Encode() + "&"
	}
	all += "PageSize=" + strconv.Itoa(p.Size) + "&Page="
	link := func(number int, token string) string {
		s := all + strconv.Itoa(number)
		if token != "" {
			s += "&PageToken=" + token
		}
		return s
	}
	m := Meta{Page: p.Number, PageSize: p.Size, Key: key, FirstPageURL: link(0, "")}
	here := ""
	if p.Position != "" {
		here = token(p.Position, p.Backward)
	}
	m.URL = link(p.Number, here)
	if p.Number > 0 {
		back := ""
		if first != "" {
			back = token(first, true)
		}
		u := link(p.Number-1, back)
		m.PreviousPageURL = &u
	}
	if more {
		u := link(p.Number+1, token(last, false))
		m.NextPageURL = &u
	}
	return m
}
