package main

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestQRCodeReads has an independent reader read what the terminal shows.
func TestQRCodeReads(t *testing.T) {
	reader, err := exec.LookPath("zbarimg")
	if err != nil {
		t.Skipf("%s skipped: no zbarimg here (Debian package zbar-tools)", t.Name())
	}
	const code = "LPA:1$smdp.example.com$02HL1-T8BC4-E7HAY-FFTVT-P2PNQ"
	text, err := qrText(code)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "qr.png")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(file, picture(text)); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(reader, "--raw", "-q", path).Output()
	if err != nil {
		t.Fatalf("zbarimg finds no code: %v", err)
	}
	if got := strings.TrimSpace(string(out)); got != code {
		t.Errorf("zbarimg reads %q, want %q", got, code)
	}
}

// picture draws half blocks as a terminal does, eight pixels a module.
func picture(text string) image.Image {
	const scale = 8
	text = regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(text, "")
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	width := len([]rune(lines[0]))
	out := image.NewGray(image.Rect(0, 0, width*scale, 2*len(lines)*scale))
	for y, line := range lines {
		for x, r := range []rune(line) {
			for half, dark := range []bool{r == '▀' || r == '█', r == '▄' || r == '█'} {
				shade := color.Gray{Y: 255}
				if dark {
					shade.Y = 0
				}
				for i := range scale * scale {
					out.SetGray(x*scale+i%scale, (2*y+half)*scale+i/scale, shade)
				}
			}
		}
	}
	return out
}
