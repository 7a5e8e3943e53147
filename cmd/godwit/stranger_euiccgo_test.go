package main

import (
	"context"
	"net"
	"strings"
	"testing"

	"godwit/euicc"
)

// euiccGo is a program around the library euicc-go: it plays a virtual reader,
// waits for one card, and does one thing with it.
type euiccGo struct {
	line []string
	card *euicc.Card
}

// run has the program do one thing and returns what it said.
func (g euiccGo) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	address := freePorts(t, 1)[0]
	n := startStranger(t, foreign(context.Background(), g.line, append([]string{"-listen", address}, args...)...))
	var conn net.Conn
	until(t, "the program listens", n, func() (ok bool) {
		var err error
		conn, err = net.Dial("tcp", address)
		return err == nil
	})
	err := g.card.ServeVPCD(t.Context(), conn)
	conn.Close()
	<-n.ended
	return n.output.String(), err
}

// do is run with success.
func (g euiccGo) do(t *testing.T, args ...string) string {
	t.Helper()
	said, err := g.run(t, args...)
	if err != nil || strings.Contains(said, "error:") || strings.Contains(said, "panic") {
		t.Fatalf("euicc-go %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return said
}

// TestStrangerEUICCGo has a second foreign assistant work with our eUICC and
// SM-DP+. This one verifies TLS, against the published test CI.
func TestStrangerEUICCGo(t *testing.T) {
	line := stranger(t, "GODWIT_EUICC_GO", "")
	p := startServerAs(t, sgp26(t, sgp26NIST))
	w := witnessOf(t, p)
	card, err := euicc.New(t.TempDir(), sgp26Chip(t, "nist"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	g := euiccGo{line, card}

	if said := g.do(t, "eid"); !strings.Contains(said, string(sgp26EID)) {
		t.Fatalf("euicc-go reads the EID as\n%s", said)
	}
	r := book(t, p, "GenerateMatchingId", "true")
	g.do(t, "download", "LPA:"+r.ActivationCode)
	g.do(t, "notifications")
	waitFor(t, p, r, "installed")
	if said := g.do(t, "list"); !strings.Contains(said, r.ICCID) {
		t.Errorf("euicc-go lists\n%s", said)
	}
	for _, action := range []string{"enable", "disable", "delete"} {
		g.do(t, action, r.ICCID)
	}
	g.do(t, "notifications")
	w.wantReported(t, r.ICCID, "install installed", "install", "enable", "disable", "delete")

	t.Run("confirmation code", func(t *testing.T) {
		iccid := strings.TrimSpace(string(godwit(t, "order", "download", "--data", p.data, "--type", defaultType)))
		code := strings.TrimSpace(string(godwit(t, "order", "confirm", "--data", p.data, iccid, "--code", "2468")))
		if said, _ := g.run(t, "-code", "1357", "download", code); !strings.Contains(said, "error:") {
			t.Fatalf("a wrong confirmation code was taken:\n%s", said)
		}
		g.do(t, "-code", "2468", "download", code)
		g.do(t, "notifications")
		w.wantReported(t, iccid, "install installed", "install")
	})
	t.Run("a server of another CI", func(t *testing.T) {
		other := startServer(t)
		r := book(t, other, "GenerateMatchingId", "true")
		if said, _ := g.run(t, "download", "LPA:"+r.ActivationCode); !strings.Contains(said, "certificate") {
			t.Errorf("euicc-go took TLS of a CI that it does not know:\n%s", said)
		}
	})
}
