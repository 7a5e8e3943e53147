package smdp

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"
)

// pngIcon is an image of the given size, filled up to a number of octets
// behind its end.
func pngIcon(t *testing.T, width, height, octets int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, max(0, octets-b.Len()))...)
}

// largestIcon is as large as an icon may be. SGP.22 v2.5, 5.5.2.
func largestIcon(t *testing.T) []byte { return pngIcon(t, 64, 64, 1024) }

func TestIcon(t *testing.T) {
	for name, c := range map[string]struct {
		icon []byte
		want string // part of the refusal; "" for none
	}{
		"as it should be": {pngIcon(t, 64, 64, 0), ""},
		"too small":       {pngIcon(t, 32, 32, 0), "metadata.icon: an icon is 64 by 64 pixels; this is 32 by 32"},
		"not square":      {pngIcon(t, 64, 63, 0), "64 by 63"},
		"no image":        {[]byte("hello"), "metadata.icon: an icon is a PNG or JPEG image"},
		"cut off":         {[]byte("\x89PNG\r\n\x1a\n"), "cannot be read"},
		"JPEG in name":    {[]byte("\xFF\xD8\xFF"), "cannot be read"},
	} {
		m := Metadata{Name: "Icon", ServiceProvider: "Op", Icon: c.icon}
		_, err := m.message("smdp.example.com")
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
