package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A recipe is one section of a document: what to write into files, and
// what to type.
type recipe struct {
	title string
	files map[string]string
	shell []string
}

var fence = regexp.MustCompile("^```(\\w+)(?: (\\S+))?$")

// recipes reads the sections of a document.
func recipes(t *testing.T, document string) (all []recipe) {
	t.Helper()
	inside, kind, name := false, "", ""
	var block []string
	for line := range strings.SplitSeq(document, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case inside && line == "```":
			r := &all[len(all)-1]
			if text := strings.Join(block, "\n") + "\n"; kind == "sh" {
				r.shell = append(r.shell, text)
			} else {
				r.files[name] = text
			}
			inside, block = false, nil
		case inside:
			block = append(block, line)
		case m != nil:
			inside, kind, name = true, m[1], m[2]
			if kind != "sh" && name == "" {
				t.Fatalf("a block of %s has no file name: %q", kind, line)
			}
		case strings.HasPrefix(line, "## "):
			all = append(all, recipe{title: line[3:], files: map[string]string{}})
		}
	}
	return all
}

// TestClients runs every recipe of docs/clients.md as it stands.
func TestClients(t *testing.T) { runRecipes(t, "clients.md", 8) }

// TestRemoteManagerClients does so with docs/remote-manager.md.
func TestRemoteManagerClients(t *testing.T) { runRecipes(t, "remote-manager.md", 7) }

// runRecipes runs the recipes of a document, each in a folder, a network and a
// table of hosts of its own, so that it may use the ports and names that the
// document speaks of.
func runRecipes(t *testing.T, name string, least int) {
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "-mnpf", "--kill-child", "true").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here (they want root on Linux): %v %s", err, out)
	}
	all := recipes(t, string(document))
	if len(all) < least || all[0].title != "Preparation" {
		t.Fatalf("%d recipes, or the first is no preparation", len(all))
	}
	for _, r := range all[1:] {
		if len(r.shell) == 0 {
			continue // words only
		}
		t.Run(r.title, func(t *testing.T) {
			t.Parallel()
			runRecipe(t, all[0], r)
		})
	}
}

// needs are programs of recipes, with what to do when they are missing.
var needs = []struct{ word, program string }{
	{"curl ", "curl"},
	{"python", "python3"},
	{"node ", "node"},
	{"nginx ", "nginx"},
	{"openssl ", "openssl"},
	{"node ", filepath.Join(clientsDir(), "node", "node_modules", "twilio", "index.js")},
	{"python reserve", pythonPackage("twilio")},
	{"python plain", pythonPackage("twilio")},
	{"python inventory", pythonPackage("devicecloud")},
	{" twilio ", filepath.Join(clientsDir(), "cli", "node_modules", ".bin", "twilio")},
}

func runRecipe(t *testing.T, preparation, r recipe) {
	script := strings.Join(append(append([]string{}, preparation.shell...), r.shell...), "")
	for _, n := range needs {
		_, absent := exec.LookPath(n.program)
		if filepath.IsAbs(n.program) {
			absent = nil
			if found, err := filepath.Glob(n.program); err != nil || len(found) == 0 {
				absent = os.ErrNotExist
			}
		}
		if absent != nil && strings.Contains(script, n.word) {
			t.Skipf("%s is missing: make deps clients", n.program)
		}
	}
	if shape, err := json.Marshal(credentials{}); err != nil || strings.Contains(script, "$CLIENT_ID") && !bytes.Contains(shape, []byte(`"client_id"`)) {
		t.Skipf("no API client is among the credentials: %v", err)
	}
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range r.files {
		put(name, text, 0o644)
	}
	// A reader has godwit in his path, and twilio-go in the go.mod of his program.
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	put("bin/godwit", "#!/bin/sh\nexec env "+asProgram+"=1 "+os.Args[0]+` "$@"`+"\n", 0o755)
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		put(name, string(text), 0o644)
	}
	put("hosts", "127.0.0.1 localhost\n", 0o644)
	put("recipe.sh", "set -euo pipefail\nip link set lo up\nmount --bind hosts /etc/hosts\n"+script, 0o644)

	// Some compile all that a vendor's library has, for the first time on this machine.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "unshare", "-mnpf", "--kill-child", "--mount-proc", "bash", "recipe.sh")
	command.Dir = dir
	clients := clientsDir()
	// Of several values the last one holds.
	command.Env = append(environment(),
		"PATH="+strings.Join([]string{
			filepath.Join(dir, "bin"), filepath.Join(clients, "python", "bin"), filepath.Join(clients, "cli", "node_modules", ".bin"), os.Getenv("PATH"), "/usr/sbin",
		}, ":"),
		"NODE_PATH="+filepath.Join(clients, "node", "node_modules"), "GOFLAGS=-mod=mod", "GOPROXY=off",
	)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "godwit.log"))
		t.Errorf("%v\n%s\nserver:\n%s", err, output.Bytes(), log)
	}
}
