//go:build !linux

package reader

import "errors"

// OpenQRTR is for Linux alone.
func OpenQRTR(uint8) (Card, error) { return nil, errors.New("QRTR is Linux's alone") }
