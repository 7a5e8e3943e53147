// Package durable writes files that have to be there, whole, after a loss of power.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile makes the file name hold content. Until it returns, and when it fails,
// whoever reads the file finds what was there before; afterwards he finds the
// content, whatever happens to the machine. Meanwhile there is a file with the
// suffix .next beside it. Two who write the same file must not do so at once.
func WriteFile(name string, content []byte, mode fs.FileMode) error {
	next := name + ".next"
	if err := write(next, content, mode); err != nil {
		return errors.Join(err, remove(next))
	}
	if err := os.Rename(next, name); err != nil {
		return errors.Join(err, remove(next))
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// write has the octets on the disk before it returns, ahead of their name.
func write(name string, content []byte, mode fs.FileMode) error {
	if err := remove(name); err != nil { // with the mode of another time
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
