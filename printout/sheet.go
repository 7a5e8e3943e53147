package printout

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"

	"codeberg.org/go-pdf/fpdf"
)

// A Sheet is a PDF in A4 with fifteen codes to a page, each with a few words
// under it.
type Sheet struct {
	pdf   *fpdf.Fpdf
	text  func(string) string // into the code page of the built-in fonts
	title string
	at    int
}

// The page, in millimetres.
const (
	pageMargin = 12.0
	headHeight = 12.0
	columns    = 3
	rows       = 5
	cellWidth  = (210 - 2*pageMargin) / columns
	cellHeight = (297 - 2*pageMargin - headHeight) / rows
	codeSide   = 36.0
	lineHeight = 3.2
)

// NewSheet begins a sheet. made is when it was made, for its properties.
func NewSheet(title string, made time.Time) *Sheet {
	pdf := fpdf.New("P", "mm", "A4", "")
	s := &Sheet{pdf: pdf, text: pdf.UnicodeTranslatorFromDescriptor(""), title: title}
	pdf.SetTitle(utf16Text(title), false)
	pdf.SetCreator("Godwit", true)
	pdf.SetCreationDate(made)
	pdf.SetModificationDate(made)
	pdf.SetAutoPageBreak(false, 0)
	pdf.AliasNbPages("{pages}")
	return s
}

// utf16Text is a text as PDF writes it outside of pages (ISO 32000-1, 7.9.2.2). The
// library's own way loses characters that take two words, such as emoji.
func utf16Text(s string) string {
	text := []byte{0xfe, 0xff}
	for _, word := range utf16.Encode([]rune(s)) {
		text = binary.BigEndian.AppendUint16(text, word)
	}
	return string(text)
}

// Add puts a code on the sheet, with the words that belong to it.
func (s *Sheet) Add(text string, words ...string) error {
	code, err := Encode(text)
	if err != nil {
		return err
	}
	place := s.at % (columns * rows)
	if place == 0 {
		s.page()
	}
	s.at++
	left := pageMargin + float64(place%columns)*cellWidth
	top := pageMargin + headHeight + float64(place/columns)*cellHeight
	module := codeSide / float64(code.Size())
	x0 := left + (cellWidth-codeSide)/2
	s.pdf.SetFillColor(0, 0, 0)
	code.runs(func(x, y, n int) {
		// A hair more than the module's height: no light shows between rows.
		s.pdf.Rect(x0+float64(x)*module, top+float64(y)*module, float64(n)*module, module*1.02, "F")
	})
	s.pdf.SetFont("Helvetica", "", 6.5)
	for i, word := range words {
		s.pdf.SetXY(left, top+codeSide+float64(i)*lineHeight)
		s.pdf.CellFormat(cellWidth, lineHeight, s.text(s.fit(word)), "", 0, "C", false, 0, "")
	}
	return s.pdf.Error()
}

// fit shortens a text to the width of a cell.
func (s *Sheet) fit(word string) string {
	word = strings.Join(strings.Fields(word), " ")
	letters := []rune(word)
	for len(letters) > 0 && s.pdf.GetStringWidth(s.text(word)) > cellWidth-2 {
		letters = letters[:len(letters)-1]
		word = string(letters) + "..."
	}
	return word
}

func (s *Sheet) page() {
	s.pdf.AddPage()
	s.pdf.SetFont("Helvetica", "B", 10)
	s.pdf.SetXY(pageMargin, pageMargin)
	s.pdf.CellFormat(150, 6, s.text(s.title), "", 0, "L", false, 0, "")
	s.pdf.SetFont("Helvetica", "", 8)
	s.pdf.CellFormat(210-2*pageMargin-150, 6, fmt.Sprintf("%d / {pages}", s.pdf.PageNo()), "", 0, "R", false, 0, "")
}

// WriteTo writes the sheet out and ends it.
func (s *Sheet) WriteTo(w io.Writer) (int64, error) {
	if s.at == 0 {
		s.page()
	}
	counted := &counter{w: w}
	if err := s.pdf.Output(counted); err != nil {
		return counted.n, fmt.Errorf("write PDF: %w", err)
	}
	return counted.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
