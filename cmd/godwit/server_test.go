package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/internal/loopback"
	"godwit/trust"
)

// A process is a server in a process of its own.
type process struct {
	t           *testing.T
	data        string
	args        []string
	command     *exec.Cmd
	output      *syncBuffer
	credentials credentials
}

// program returns the command that runs the program with arguments.
func program(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, os.Args[0], args...)
	command.Env = append(os.Environ(), asProgram+"=1")
	return command
}

// godwit runs the program to its end and returns what it printed; it must exit
// with code 0.
func godwit(t *testing.T, args ...string) []byte {
	t.Helper()
	var problems bytes.Buffer
	command := program(t.Context(), args...)
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		t.Fatalf("godwit %s: %v\n%s%s", strings.Join(args, " "), err, out, problems.Bytes())
	}
	return out
}

// freePorts returns addresses on which nobody listens now; they are the test's.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = loopback.Take(t)
	}
	return addresses
}

// longest is how long anything is waited for. It is for machines that have much
// else to do: where all is well nobody waits that long.
const longest = 2 * time.Minute

// startServer starts a server on free ports with an empty data directory, and
// waits until it is ready. It is killed at the end of the test.
func startServer(t *testing.T, args ...string) *process {
	t.Helper()
	return startServerIn(t, filepath.Join(t.TempDir(), "data"), args...)
}

// startServerIn is [startServer] on a data directory that may exist.
func startServerIn(t *testing.T, data string, args ...string) *process {
	t.Helper()
	ports := freePorts(t, 2)
	p := &process{t: t, data: data, args: append([]string{
		"serve", "--data", data, "--listen", ports[0], "--rsp-listen", ports[1],
	}, args...)}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("server output:\n%s", p.output)
		}
	})
	return p
}

// start starts the server, for the first time or again.
func (p *process) start() {
	p.t.Helper()
	p.output = &syncBuffer{}
	p.command = program(context.Background(), p.args...)
	p.command.Stdout, p.command.Stderr = p.output, p.output
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	base := "http://" + p.args[4]
	for deadline := time.Now().Add(longest); ; {
		response, err := http.Get(base + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the server is not ready after %s:\n%s", longest, p.output)
		}
		pause()
	}
	if err := json.Unmarshal(godwit(p.t, "credentials", "--data", p.data), &p.credentials); err != nil {
		p.t.Fatal(err)
	}
}

// pause lets other processes get on; what is waited for is always asked for
// again.
func pause() {
	tick := time.NewTimer(10 * time.Millisecond)
	<-tick.C
}

// kill ends the server as a power cut would.
func (p *process) kill() {
	if p.command != nil && p.command.Process != nil {
		p.command.Process.Kill()
		p.command.Wait()
		p.command = nil
	}
}

// call makes one call of the Super SIM API and reads the answer.
func (p *process) call(path string, form url.Values, into any) int {
	p.t.Helper()
	status, err := p.tryCall(path, form, into)
	if err != nil {
		p.t.Fatal(err)
	}
	return status
}

func (p *process) tryCall(path string, form url.Values, into any) (int, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	request, err := http.NewRequest(method, p.credentials.BaseURL+path, body)
	if err != nil {
		return 0, err
	}
	request.SetBasicAuth(p.credentials.AccountSID, p.credentials.AuthToken)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, err
	}
	if into == nil {
		return response.StatusCode, nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return response.StatusCode, fmt.Errorf("%s %s: %d %s: %w", method, path, response.StatusCode, content, err)
	}
	return response.StatusCode, nil
}

// says reports whether the server has written text to its log; what it writes
// takes a moment to arrive here.
func (p *process) says(text string) bool {
	for deadline := time.Now().Add(longest); time.Now().Before(deadline); pause() {
		if strings.Contains(p.output.String(), text) {
			return true
		}
	}
	return false
}

// set returns the private test trust of the server.
func (p *process) set() *trust.Set {
	p.t.Helper()
	set, err := trust.Load(filepath.Join(p.data, "pki"), testSet)
	if err != nil {
		p.t.Fatal(err)
	}
	return set
}

// database opens the server's database beside it.
func (p *process) database(flags dataFlags) *db.DB {
	p.t.Helper()
	flags.Data = p.data
	d, err := flags.open(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { d.Close() })
	return d
}

// A syncBuffer collects output of a process while it is read.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
