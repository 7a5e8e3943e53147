package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"godwit/ident"
	"godwit/ipa"
)

// Files of the state directory.
const (
	lockFile  = "lock"
	agentFile = "agent.json" // memory
	keyFile   = "agent.key"  // what the agent signs with for a consumer chip
	ipaFile   = "ipa.json"   // the IPA's journal
	chipFile  = "chip-%s.json"
)

// memory is what the agent keeps of its enrolment.
type memory struct {
	Server   string    `json:"server"`
	DeviceID string    `json:"device_id"`
	Token    string    `json:"token"`
	EID      ident.EID `json:"eid"`
	Kind     string    `json:"kind"`
	ESipa    string    `json:"esipa_url"`
	Poll     int       `json:"poll_seconds"`
	Eim      []byte    `json:"eim"` // EimConfigurationData, DER
}

// A directory is the agent's state, its own while it runs.
type directory struct {
	dir  string
	lock *os.File
}

func openDirectory(dir string) (*directory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	// The kernel gives the lock free when the process ends, however it ends.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another agent uses %s: %w", dir, err)
	}
	return &directory{dir, lock}, nil
}

func (d *directory) close() error { return d.lock.Close() }

func (d *directory) load() (m memory, err error) {
	content, err := ipa.FileJournal(d.dir, agentFile).Load()
	if err != nil || content == nil {
		return m, err
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return m, fmt.Errorf("read %s: %w", filepath.Join(d.dir, agentFile), err)
	}
	return m, nil
}

func (d *directory) save(m memory) error {
	content, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return ipa.FileJournal(d.dir, agentFile).Save(content)
}

// key returns the agent's key, made at the first call.
func (d *directory) key() (*ecdsa.PrivateKey, error) {
	journal := ipa.FileJournal(d.dir, keyFile)
	der, err := journal.Load()
	if err != nil {
		return nil, err
	}
	if der == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return nil, err
		}
		return key, journal.Save(der)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(d.dir, keyFile), err)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New(keyFile + " holds no key of an elliptic curve")
	}
	return private, nil
}
