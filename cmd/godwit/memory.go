package main

import (
	"os"
	"runtime/debug"
)

// useMemory lets the heap of a server grow to five times of what is in use
// before it is cleaned, and no further than memoryLimit if that can be helped. What is in
// use is small, some megabytes, so that Go's own choice of twice as much has the
// collector at work several times a second under load. GOGC and GOMEMLIMIT in
// the environment count for more.
func useMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// memoryLimit leaves room for what the collector does not see, of the 300 MB
// that a server is to do with.
const memoryLimit = 240 << 20
