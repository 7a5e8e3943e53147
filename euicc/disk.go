package euicc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A store keeps a chip's memory. A commit happens whole or not at all.
type store interface {
	load() (*state, error)
	// commit replaces the state. New packages are durable before the state
	// that names them; packages that the state no longer names are dropped.
	commit(s *state, added map[string][]byte) error
	// profile returns a package that the state names.
	profile(name string) ([]byte, error)
	close() error
}

// memory is the store of a chip without a directory.
type memory struct {
	state    *state
	packages map[string][]byte
}

func (m *memory) load() (*state, error) { return m.state, nil }

func (m *memory) commit(s *state, added map[string][]byte) error {
	for name, content := range added {
		m.packages[name] = content
	}
	if len(m.packages) > len(s.Profiles) {
		for name := range m.packages {
			if !s.names(name) {
				delete(m.packages, name)
			}
		}
	}
	m.state = s
	return nil
}

func (m *memory) profile(name string) ([]byte, error) {
	content, ok := m.packages[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return content, nil
}

func (m *memory) close() error { return nil }

// Files of a chip's directory. The state is one file that is replaced by
// rename, so there is one instant at which a command has happened; packages
// are files of their own, never changed and never named twice.
const (
	lockFile   = "lock"
	cardFile   = "card.json"
	stateFile  = "state.json"
	packageDir = "profiles"
	scratch    = ".new"
)

// disk is the store of a chip in a directory.
type disk struct {
	dir  string
	lock *os.File
	// step is called before each thing done to the directory. Tests cut the
	// power there.
	step func() error
}

func createDisk(dir string, cfg Config) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, errors.New("the directory is not empty")
	}
	d, err := lockDisk(dir)
	if err != nil {
		return nil, err
	}
	if err := d.create(cfg); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *disk) create(cfg Config) error {
	if err := os.Mkdir(filepath.Join(d.dir, packageDir), 0o700); err != nil {
		return err
	}
	files, err := cfg.files()
	if err != nil {
		return err
	}
	// The description of the card comes last: a directory without it is no card.
	for _, f := range files {
		if err := d.replace(f.name, f.content); err != nil {
			return err
		}
	}
	return nil
}

func openDisk(dir string) (*disk, Config, error) {
	if _, err := os.Stat(filepath.Join(dir, cardFile)); err != nil {
		return nil, Config{}, fmt.Errorf("there is no eUICC (`godwit euicc new` makes one): %w", err)
	}
	d, err := lockDisk(dir)
	if err != nil {
		return nil, Config{}, err
	}
	cfg, err := readConfig(func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) })
	if err != nil {
		return nil, Config{}, errors.Join(err, d.close())
	}
	return d, cfg, nil
}

// lockDisk takes the directory for this process alone. The kernel gives the
// lock free when the process ends, however it ends.
func lockDisk(dir string) (*disk, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another process uses this eUICC: %w", err)
	}
	return &disk{dir: dir, lock: lock, step: func() error { return nil }}, nil
}

func (d *disk) close() error { return d.lock.Close() }

// load reads the state and sweeps away what a power cut left behind.
func (d *disk) load() (*state, error) {
	content, err := os.ReadFile(filepath.Join(d.dir, stateFile))
	if err != nil {
		return nil, err
	}
	s := new(state)
	if err := json.Unmarshal(content, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", stateFile, err)
	}
	if s.Version < 1 || s.Version > stateVersion {
		return nil, fmt.Errorf("%s has version %d, this program knows versions up to %d", stateFile, s.Version, stateVersion)
	}
	s.Version = stateVersion
	if err := d.sweep(s); err != nil {
		return nil, err
	}
	for _, p := range s.Profiles {
		if _, err := os.Stat(filepath.Join(d.dir, packageDir, p.Package)); err != nil {
			return nil, fmt.Errorf("profile %s has lost its package: %w", p.ICCID, err)
		}
	}
	return s, nil
}

// sweep removes unfinished files and packages that no profile names.
func (d *disk) sweep(s *state) error {
	for _, dir := range []string{d.dir, filepath.Join(d.dir, packageDir)} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			orphan := dir != d.dir && !s.names(e.Name())
			if !orphan && !strings.HasSuffix(e.Name(), scratch) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *disk) commit(s *state, added map[string][]byte) error {
	for name, content := range added {
		if err := d.replace(filepath.Join(packageDir, name), content); err != nil {
			return err
		}
	}
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := d.replace(stateFile, content); err != nil {
		return err
	}
	return d.drop(s)
}

// drop removes packages that the state no longer names. The command has
// happened already: what is left after a power cut here is swept away later.
func (d *disk) drop(s *state) error {
	entries, err := os.ReadDir(filepath.Join(d.dir, packageDir))
	if err != nil || len(entries) <= len(s.Profiles) {
		return err
	}
	for _, e := range entries {
		if s.names(e.Name()) {
			continue
		}
		if err := d.step(); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(d.dir, packageDir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) profile(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.dir, packageDir, filepath.Base(name)))
}

// replace makes the file name hold content: before it returns the old file is
// there, when it has returned the new one is, whatever happens to the machine.
func (d *disk) replace(name string, content []byte) error {
	path := filepath.Join(d.dir, name)
	if err := d.step(); err != nil {
		return err
	}
	f, err := os.OpenFile(path+scratch, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := d.fill(f, content); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := d.step(); err != nil {
		return err
	}
	if err := os.Rename(path+scratch, path); err != nil {
		return err
	}
	if err := d.step(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// fill writes in two halves so that a cut between them is possible in tests.
func (d *disk) fill(f *os.File, content []byte) error {
	half := len(content) / 2
	if _, err := f.Write(content[:half]); err != nil {
		return err
	}
	if err := d.step(); err != nil {
		return err
	}
	if _, err := f.Write(content[half:]); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
