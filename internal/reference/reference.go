// Package reference finds published test material (ASN.1 modules, SGP.26 test
// certificates, sample packages, vectors) for tests. The material is not part
// of the repository: tests that want it skip by name where it is absent, and
// the repository makes everything else that it needs to test itself.
package reference

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Dir returns the folder with the material: GODWIT_REFERENCE, or a folder
// shared/reference/data beside the repository. It skips the test where neither
// exists.
func Dir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("GODWIT_REFERENCE"); dir != "" {
		return dir
	}
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	dir := filepath.Join(filepath.Dir(root), "shared", "reference", "data")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s skipped: no published test material (set GODWIT_REFERENCE to its folder)", t.Name())
	}
	return dir
}

// File returns the content of one file of the material, or skips the test.
func File(t testing.TB, path ...string) []byte {
	t.Helper()
	name := filepath.Join(append([]string{Dir(t)}, path...)...)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Skipf("%s skipped: %v", t.Name(), err)
	}
	return content
}
