// Package printout is activation codes as people use them: QR codes as SVG and
// PNG, and sheets of them as PDF.
package printout

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"rsc.io/qr"
)

// quietZone is the light border that a QR code needs, in modules. ISO/IEC
// 18004 asks for four.
const quietZone = 4

// A Code is a QR code: a square of modules that are dark or light.
type Code struct{ code *qr.Code }

// Encode makes the QR code of a text, with fifteen percent of redundancy.
func Encode(text string) (Code, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return Code{}, fmt.Errorf("QR code: %w", err)
	}
	return Code{code}, nil
}

// Size is the length of a side in modules, with the quiet zone.
func (c Code) Size() int { return c.code.Size + 2*quietZone }

// dark reports whether a module is dark; the quiet zone is light.
func (c Code) dark(x, y int) bool {
	x, y = x-quietZone, y-quietZone
	return x >= 0 && y >= 0 && x < c.code.Size && y < c.code.Size && c.code.Black(x, y)
}

// runs calls f for each horizontal run of dark modules.
func (c Code) runs(f func(x, y, length int)) {
	for y := range c.Size() {
		for x := 0; x < c.Size(); x++ {
			from := x
			for c.dark(x, y) {
				x++
			}
			if x > from {
				f(from, y, x-from)
			}
		}
	}
}

// SVG draws the code in vectors, dark on light.
func (c Code) SVG() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %[1]d" width="%d" height="%[2]d" shape-rendering="crispEdges">`+
		`<rect width="100%%" height="100%%" fill="#fff"/><path d="`, c.Size(), 4*c.Size())
	c.runs(func(x, y, n int) { fmt.Fprintf(&b, "M%d %dh%dv1H%dz", x, y, n, x) })
	b.WriteString(`"/></svg>` + "\n")
	return b.Bytes()
}

// PNG draws the code in pixels, scale to a module's side.
func (c Code) PNG(scale int) ([]byte, error) {
	side := c.Size() * scale
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	c.runs(func(x, y, n int) {
		for py := y * scale; py < (y+1)*scale; py++ {
			row := img.Pix[py*img.Stride:]
			for px := x * scale; px < (x+n)*scale; px++ {
				row[px] = 1
			}
		}
	})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("write PNG: %w", err)
	}
	return b.Bytes(), nil
}
