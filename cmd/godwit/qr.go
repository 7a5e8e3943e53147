package main

import (
	"strings"

	"rsc.io/qr"
)

// quietZone is the light border that a QR code needs, in modules. ISO/IEC
// 18004 asks for four; phones read two on a screen, but lab cameras do not.
const quietZone = 4

// qrText draws text as a QR code for a terminal: two rows of modules in one line
// of half blocks, dark on light whatever the terminal's own colours are.
func qrText(text string) (string, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", err
	}
	const (
		light = "\x1b[48;5;231m\x1b[38;5;16m" // white ground, black ink
		reset = "\x1b[0m"
	)
	blocks := [2][2]string{{" ", "▄"}, {"▀", "█"}} // [upper][lower]
	dark := func(x, y int) int {
		if x < 0 || y < 0 || x >= code.Size || y >= code.Size || !code.Black(x, y) {
			return 0
		}
		return 1
	}
	var out strings.Builder
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		out.WriteString("    " + light)
		for x := -quietZone; x < code.Size+quietZone; x++ {
			out.WriteString(blocks[dark(x, y)][dark(x, y+1)])
		}
		out.WriteString(reset + "\n")
	}
	return out.String(), nil
}
