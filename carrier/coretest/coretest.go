// Package coretest runs real core networks for tests: an OsmoHLR, and a
// database for the documents of an Open5GS. A test whose program is not on the
// machine is skipped, and says by name what is missing.
package coretest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An HLR is an OsmoHLR in a process of its own, with a database of its own.
type HLR struct {
	Control, GSUP string // HOST:PORT

	t       testing.TB
	dir     string
	command *exec.Cmd
	output  *output
}

// StartHLR starts an OsmoHLR that ends with the test.
func StartHLR(t testing.TB) *HLR {
	t.Helper()
	h := NewHLR(t)
	h.Start()
	return h
}

// NewHLR prepares an OsmoHLR that does not run yet.
func NewHLR(t testing.TB) *HLR {
	t.Helper()
	if _, err := exec.LookPath("osmo-hlr"); err != nil {
		t.Skip("osmo-hlr is not installed (Debian package osmo-hlr)")
	}
	// Its ports cannot be chosen, so each gets an address of the loopback network.
	host := freeHost(t, "4259", "4222", "4258")
	h := &HLR{Control: net.JoinHostPort(host, "4259"), GSUP: net.JoinHostPort(host, "4222"), t: t, dir: t.TempDir()}
	config := fmt.Sprintf("log stderr\n logging level main notice\nline vty\n bind %[1]s\nctrl\n bind %[1]s\nhlr\n gsup\n  bind ip %[1]s\n", host)
	if err := os.WriteFile(filepath.Join(h.dir, "hlr.cfg"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Stop()
		if t.Failed() && h.output != nil {
			t.Logf("osmo-hlr:\n%s", h.output)
		}
	})
	return h
}

// Start starts it, for the first time or again, and waits until it listens.
func (h *HLR) Start() {
	h.t.Helper()
	h.output = &output{}
	h.command = exec.Command("osmo-hlr", "-c", filepath.Join(h.dir, "hlr.cfg"), "-l", filepath.Join(h.dir, "hlr.db"))
	h.command.Stdout, h.command.Stderr = h.output, h.output
	if err := h.command.Start(); err != nil {
		h.t.Fatal(err)
	}
	await(h.t, h.Control, h.output)
	await(h.t, h.GSUP, h.output)
}

// Stop ends it at once.
func (h *HLR) Stop() {
	if h.command != nil {
		h.command.Process.Kill()
		h.command.Wait()
		h.command = nil
	}
}

// Mongo returns the URL of a database server that speaks MongoDB's protocol:
// that of GODWIT_TEST_MONGODB, a mongod, or a FerretDB over SQLite.
func Mongo(t testing.TB) string {
	t.Helper()
	if url := os.Getenv("GODWIT_TEST_MONGODB"); url != "" {
		return url
	}
	host := freeHost(t, "27017")
	address := net.JoinHostPort(host, "27017")
	dir := t.TempDir()
	var command *exec.Cmd
	if program, err := exec.LookPath("mongod"); err == nil {
		command = exec.Command(program, "--dbpath", dir, "--bind_ip", host)
	} else if program, err := exec.LookPath("ferretdb"); err == nil {
		command = exec.Command(program, "--handler=sqlite", "--sqlite-url=file:"+dir+"/", "--listen-addr="+address,
			"--debug-addr=-", "--telemetry=disable", "--state-dir="+dir)
	} else {
		t.Skip("neither mongod nor ferretdb is on the path, and GODWIT_TEST_MONGODB names no server")
	}
	log := &output{}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", command.Path, log)
		}
	})
	await(t, address, log)
	return "mongodb://" + address + "/"
}

// freeHost returns an address of the loopback network on which nobody uses the
// given ports.
func freeHost(t testing.TB, ports ...string) string {
	t.Helper()
	for range 20 {
		host := fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), rand.N(256), 1+rand.N(254))
		if free(host, ports) {
			return host
		}
	}
	t.Skip("this machine has no loopback network beside 127.0.0.1")
	return ""
}

func free(host string, ports []string) bool {
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(host, p))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func await(t testing.TB, address string, log *output) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("nobody listens on %s after two minutes:\n%s", address, log)
		}
	}
}

// output collects what a process says.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(o.buf.String())
}
