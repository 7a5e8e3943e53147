package ipa

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"godwit/durable"
)

// A Journal keeps one document over a loss of power. Save returns when the
// document is safe; until then the one before it stays. The methods are not
// called at once.
type Journal interface {
	Load() ([]byte, error) // nil when nothing was saved
	Save(document []byte) error
}

// FileJournal keeps the document in a file of a directory, which is made when
// it is missing.
func FileJournal(dir, name string) Journal { return &fileJournal{dir, name} }

type fileJournal struct{ dir, name string }

// maxJournal is how long a document may be: many results of 4 kB.
const maxJournal = 16 << 20

func (f *fileJournal) Load() ([]byte, error) {
	path := filepath.Join(f.dir, f.name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxJournal {
		err = fmt.Errorf("%s has %d octets: that is no journal", path, info.Size())
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func (f *fileJournal) Save(document []byte) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(f.dir, f.name), document, 0o600)
}

// MemoryJournal is a journal of simulated devices: it survives the power cuts
// that are simulated with them. The zero value is empty.
type MemoryJournal struct{ document []byte }

// Load returns what was saved last.
func (m *MemoryJournal) Load() ([]byte, error) { return m.document, nil }

// Save keeps the document.
func (m *MemoryJournal) Save(document []byte) error {
	m.document = document
	return nil
}

// load reads the document of a journal into v, and leaves v alone when there is
// none.
func load(j Journal, v any) error {
	document, err := j.Load()
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	if document == nil {
		return nil
	}
	if err := json.Unmarshal(document, v); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	return nil
}

// save keeps v in a journal.
func save(j Journal, v any) error {
	document, err := json.Marshal(v)
	if err == nil {
		err = j.Save(document)
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}
