// The root of the module holds no code, only this test: it keeps the house in
// order. Packages stand on floors and import downwards only.
package godwit_test

import (
	"cmp"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages of the module from the ground up. A package imports
// only from floors below its own. docs/architecture.md says what each is for.
var floors = [][]string{
	{"tlv", "fault", "ident", "milenage", "printout", "durable"},
	{"pki", "saip", "db", "query"},
	{"rsp", "explain", "jobs"},
	{"iot"},
	{"event", "callback", "es2", "trust", "smsc"},
	{"account", "charge", "once", "monitor"},
	{"sim", "device"},
	{"usage", "command", "privacy"},
	{"bulk"},
	{"web"},
	{"supersim", "kore", "coreapi", "remote", "smdp", "eim", "carrier", "apidoc", "agentapi"},
	{"cmd/commandline"},
	{"cmd/godwit", "cmd/godwit-agent"},
}

// helpers are imported by tests alone.
var helpers = []string{"db/dbtest", "db/dbtest/server", "db/dbtest/withpostgres", "smsc/smsctest", "carrier/coretest", "reader/modemtest", "internal/clock", "internal/fuse", "internal/letter", "internal/loopback", "internal/reference"}

// beside stand the chip and its assistant. They share wire formats with the
// servers and nothing else, so that they can catch a server's mistakes.
var beside = map[string][]string{
	"euicc":  {"tlv", "ident", "pki", "saip", "milenage", "rsp", "iot", "explain"},
	"bench":  {"ident", "pki", "rsp", "iot"},
	"lpa":    {"tlv", "ident", "pki", "rsp", "explain"},
	"ipa":    {"durable", "tlv", "ident", "pki", "rsp", "iot", "lpa", "explain"},
	"reader": {"euicc"},
	"agent":  {"ident", "pki", "iot", "rsp", "lpa", "ipa", "reader", "explain"},
	"lab":    {"durable", "ident", "pki", "rsp", "iot", "lpa", "ipa", "euicc", "explain"},
}

// quiet packages do no I/O: each is usable as a library in any program.
var quiet = []string{"tlv", "ident", "pki", "saip", "milenage", "rsp", "iot", "query"}

// sole names the one package that may import an outside module.
var sole = map[string]string{
	"modernc.org/sqlite":            "db",
	"github.com/jackc/pgx":          "db",
	"github.com/pressly/goose":      "db",
	"github.com/riverqueue/river":   "jobs",
	"code.dny.dev/ssrf":             "callback",
	"github.com/go-jose/go-jose":    "account",
	"golang.org/x/time":             "web",
	"github.com/linxGnu/gosmpp":     "smsc",
	"github.com/ProtonMail":         "pki",
	"layeh.com/radius":              "usage",
	"go.mongodb.org/mongo-driver":   "carrier",
	"github.com/alecthomas/kong":    "cmd",
	"go.bug.st/serial":              "reader",
	"github.com/damonto/euicc-go":   "reader",
	"github.com/creack/pty":         "", // tests only
	"codeberg.org/go-pdf":           "printout",
	"github.com/twilio/twilio-go":   "", // tests only
	"github.com/getkin/kin-openapi": "", // tests only
}

func TestImportsPointDown(t *testing.T) {
	floor := map[string]int{}
	for i, packages := range floors {
		for _, p := range packages {
			floor[p] = i
		}
	}
	for pkg, imports := range imports(t) {
		if slices.Contains(helpers, pkg) {
			continue
		}
		at, standing := floor[pkg]
		allowed, aside := beside[pkg]
		if !standing && !aside {
			t.Errorf("package %s has no floor: name it in floors", pkg)
			continue
		}
		for _, path := range imports {
			inside, ours := strings.CutPrefix(path, "godwit/")
			_, guest := beside[inside]
			switch {
			case ours && slices.Contains(helpers, inside):
				t.Errorf("%s imports %s, which is for tests", pkg, inside)
			case ours && aside:
				if !slices.Contains(allowed, inside) && inside != pkg {
					t.Errorf("%s imports %s: it may share only wire formats with the servers", pkg, inside)
				}
			case ours && guest:
				if !slices.Contains(floors[len(floors)-1], pkg) {
					t.Errorf("%s imports %s: only commands join servers and chips", pkg, inside)
				}
			case ours && floor[inside] >= at && !strings.HasPrefix(inside, pkg+"/"):
				t.Errorf("%s (floor %d) imports %s (floor %d)", pkg, at, inside, floor[inside])
			case slices.Contains(quiet, pkg) && noisy(path):
				t.Errorf("%s imports %s: it is to do no I/O", pkg, path)
			}
			for module, owner := range sole {
				if strings.HasPrefix(path, module) && pkg != owner && !strings.HasPrefix(pkg, owner+"/") {
					t.Errorf("%s imports %s, which belongs to %s", pkg, path, cmp.Or(owner, "tests"))
				}
			}
		}
	}
}

// TestArchitectureNamesFloors holds the table of docs/architecture.md against
// the floors above: each package stands there once, on its floor or beside.
func TestArchitectureNamesFloors(t *testing.T) {
	content, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+|beside) \| ([^|]*) \|`).FindAllStringSubmatch(string(content), -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			if told[name[1]] != "" {
				t.Errorf("package %s is there twice", name[1])
			}
			told[name[1]] = row[1]
		}
	}
	is := map[string]string{}
	for i, packages := range floors {
		for _, p := range packages {
			is[p] = strconv.Itoa(i)
		}
	}
	for p := range beside {
		is[p] = "beside"
	}
	for p, floor := range is {
		if told[p] != floor {
			t.Errorf("package %s is on floor %s, not %q", p, floor, told[p])
		}
	}
	for p := range told {
		if is[p] == "" {
			t.Errorf("there is no package %s", p)
		}
	}
	all := imports(t)
	for p := range is {
		if all[p] == nil {
			t.Errorf("package %s, which has a floor, is not there", p)
		}
	}
}

func noisy(path string) bool {
	return path == "os" || path == "net" || path == "database/sql" || strings.HasPrefix(path, "net/http") ||
		strings.HasPrefix(path, "os/")
}

// imports returns what each package of the module imports outside its tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != "." || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		for _, i := range file.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			found[pkg] = append(found[pkg], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
