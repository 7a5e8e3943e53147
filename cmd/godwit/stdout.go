package main

import (
	"io"
	"os"
	"sync"
)

// stdout is where commands print what was asked for.
var stdout = &output{to: os.Stdout}

// output remembers that something could not be written: of the full disk under it
// the end of the command tells, and not each line.
type output struct {
	to  io.Writer
	mu  sync.Mutex
	err error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	o.err = err
	return n, err
}

// failure is what the first write that failed has said.
func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
