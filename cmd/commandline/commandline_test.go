package commandline

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

type program struct {
	Config kong.ConfigFlag `help:"JSON file with flag values."`
	Serve  struct {
		RSPListen []string      `name:"rsp-listen" help:"Where to listen." default:"127.0.0.1:8443" placeholder:"HOST:PORT"`
		Poll      time.Duration `help:"How often." default:"60s" placeholder:"DURATION"`
		Name      string        `help:"Whose." default:"nobody"`
		Free      string        `help:"Without a default." placeholder:"TEXT"`
	} `cmd:""`
	Chip struct {
		Reset struct{} `cmd:""`
	} `cmd:""`
}

func TestHelpTellsDefaults(t *testing.T) {
	var help strings.Builder
	Parse("prog", &program{}, []string{"serve", "--help"}, io.Discard, kong.Writers(&help, io.Discard), kong.Exit(func(int) {}))
	said := strings.Join(strings.Fields(help.String()), " ")
	for _, want := range []string{
		"--rsp-listen=HOST:PORT,... Where to listen. Default: 127.0.0.1:8443 ($GODWIT_RSP_LISTEN).",
		"--poll=DURATION How often. Default: 60s ($GODWIT_POLL).",
		`--name="nobody" Whose ($GODWIT_NAME).`,
		"--free=TEXT Without a default ($GODWIT_FREE).",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, help.String())
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		content, want string // want is what is said of the file, of one that is good nothing
	}{
		{`{"rsp-listen": ["a:1", "b:2"], "poll": "5s"}`, ""},
		{`{"rsp_listen": ["a:1", "b:2"], "poll": "5s"}`, ""},
		{`{"rsp-listen": ["a:1", "b:2"], "pol": "5s"}`, "there is no flag --pol\n"},
		{`["poll"]`, "is not a JSON object of flags and values"},
		{`{"poll": `, "is not a JSON object of flags and values"},
		{`{"poll": "often"}`, "--poll"},
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		var p program
		var problems strings.Builder
		kctx := Parse("prog", &p, []string{"serve", "--config", file}, &problems)
		if c.want != "" {
			if kctx != nil || !strings.Contains(problems.String(), c.want) {
				t.Errorf("%s: %q, want %q", c.content, problems.String(), c.want)
			}
			continue
		}
		if kctx == nil || strings.Join(p.Serve.RSPListen, " ") != "a:1 b:2" || p.Serve.Poll != 5*time.Second {
			t.Errorf("%s: %q, %v", c.content, problems.String(), p.Serve)
		}
	}
}

func TestWhereToReadOn(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", `Run "prog --help"`},
		{"chip", `Run "prog chip --help"`},
		{"serv", `Run "prog --help"`},
		{"serve --pole 1s", `Run "prog serve --help"`},
		{"chip reset now", `Run "prog chip reset --help"`},
	} {
		var problems strings.Builder
		if Parse("prog", &program{}, strings.Fields(c.args), &problems) != nil || !strings.Contains(problems.String(), c.want) {
			t.Errorf("%q: %q, want %q", c.args, problems.String(), c.want)
		}
	}
}
