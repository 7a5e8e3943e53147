package iot

import (
	"encoding/base64"
	"strings"
)

// ReadEimConfiguration reads the configuration of an eIM as files carry it:
// EimConfigurationData in DER, or that in base64 with blanks and line breaks.
func ReadEimConfiguration(content []byte) (*EimConfiguration, error) {
	if der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(content)), "")); err == nil {
		content = der
	}
	return ParseEimConfiguration(content)
}
