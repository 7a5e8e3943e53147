package modemtest

import (
	"errors"
	"io"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A Port is a modem's control port: a character device for a proxy to open.
type Port struct {
	// Gone is closed when the modem has hung up.
	Gone   chan struct{}
	unplug func()
}

// Unplug takes the port away.
func (p *Port) Unplug() {
	p.unplug()
	<-p.Gone
}

// Plug puts the modem's control port at a name, as the kernel does with
// /dev/cdc-wdm0.
func (m *Modem) Plug(name string, serve func(io.ReadWriteCloser)) (*Port, error) {
	far, near, err := pty.Open()
	if err != nil {
		return nil, err
	}
	// The near end stays open: the terminal would forget that it is to carry all
	// octets as they are.
	if err = raw(near); err == nil {
		err = os.Symlink(near.Name(), name)
	}
	if err != nil {
		return nil, errors.Join(err, far.Close(), near.Close())
	}
	p := &Port{Gone: make(chan struct{}), unplug: func() {
		os.Remove(name)
		near.Close()
		m.HangUp()
	}}
	go func() {
		defer close(p.Gone)
		serve(far)
	}()
	return p, nil
}

func raw(terminal *os.File) error {
	t, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag, t.Cflag = 0, 0, 0, unix.CS8|unix.CREAD
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(int(terminal.Fd()), unix.TCSETS, t)
}
