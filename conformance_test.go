package godwit_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/conformance.md names is there, and every case has one.
func TestConformancePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	sources := map[string]string{}
	for _, m := range named.FindAllStringSubmatch(string(page), -1) {
		pkg, name := m[1], m[2]
		if _, read := sources[pkg]; !read {
			files, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, file := range files {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(content)
			}
			sources[pkg] = all.String()
		}
		if !strings.Contains(sources[pkg], "\nfunc "+name+"(") {
			t.Errorf("the page names %s.%s, which is not there", pkg, name)
		}
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| # ") && !named.MatchString(line) {
			t.Errorf("a case without test: %s", line)
		}
	}
	if len(sources) == 0 {
		t.Error("the page names no test")
	}
}
