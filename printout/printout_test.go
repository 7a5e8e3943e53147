package printout

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const activation = "LPA:1$smdp.example.com$K2V4N-7Q0ZX-91ABC-DEFGH-JKLMN"

// TestOthersReadTheCodes has an independent reader decode what was drawn, also
// off the printed sheet.
func TestOthersReadTheCodes(t *testing.T) {
	zbar, err := exec.LookPath("zbarimg")
	if err != nil {
		t.Skip("zbarimg (Debian package zbar-tools) is not on this machine")
	}
	code, err := Encode(activation)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := code.PNG(6)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "code.png")
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), zbar, "--raw", "-q", file).Output()
	if err != nil || strings.TrimSpace(string(out)) != activation {
		t.Errorf("zbarimg read %q, %v", out, err)
	}
}

// TestDrawingsAgree compares the two ways of drawing a code module by module.
func TestDrawingsAgree(t *testing.T) {
	code, err := Encode(activation)
	if err != nil {
		t.Fatal(err)
	}
	const scale = 3
	picture, err := code.PNG(scale)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	svg := string(code.SVG())
	drawn := map[[2]int]bool{}
	_, path, _ := strings.Cut(svg, `<path d="M`)
	path, _, _ = strings.Cut(path, `"`)
	for run := range strings.SplitSeq(path, "M") {
		var x, y, n, back int
		if _, err := fmt.Sscanf(run, "%d %dh%dv1H%dz", &x, &y, &n, &back); err != nil || back != x {
			t.Fatalf("run %q: %v", run, err)
		}
		for i := range n {
			drawn[[2]int{x + i, y}] = true
		}
	}
	for y := range code.Size() {
		for x := range code.Size() {
			r, _, _, _ := img.At(x*scale+1, y*scale+1).RGBA()
			if dark := r == 0; dark != drawn[[2]int{x, y}] || dark != code.dark(x, y) {
				t.Fatalf("module %d, %d differs", x, y)
			}
		}
	}
	if code.dark(0, 0) || code.dark(quietZone-1, code.Size()/2) {
		t.Error("the quiet zone is not light")
	}
}

func TestSheet(t *testing.T) {
	sheet := NewSheet("Order HO1: gateways for Łódź 😀", time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))
	for i := range 16 { // one more than a page holds
		if err := sheet.Add(activation, fmt.Sprintf("device %d %s", i, strings.Repeat("very long label ", 20)), "8988303000000000001"); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	n, err := sheet.WriteTo(&out)
	if err != nil || n != int64(out.Len()) {
		t.Fatalf("%d octets of %d, %v", n, out.Len(), err)
	}
	if !bytes.HasPrefix(out.Bytes(), []byte("%PDF-")) || bytes.Count(out.Bytes(), []byte("/Type /Page\n")) != 2 {
		t.Errorf("the sheet is no PDF of two pages: %.200q", out.Bytes())
	}
	// Its title is for programs: with all of its characters, as UTF-16.
	if !bytes.Contains(out.Bytes(), []byte("\xd8\x3d\xde\x00")) {
		t.Error("the title has lost its emoji")
	}
	if _, err := Encode(strings.Repeat("x", 5000)); err == nil {
		t.Error("a text that fits into no QR code was taken")
	}
}
