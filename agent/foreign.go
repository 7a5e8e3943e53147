package agent

import (
	"fmt"
	"os"
	"strings"

	"godwit/iot"
)

// foreign takes the eIM whose configuration is in a file, which is no server's
// of ours: there is nobody to enrol at and to report to, and the eIM believes what
// an SGP.32 eUICC signs, not an agent that speaks for a consumer eUICC.
func (a *agent) foreign() error {
	content, err := os.ReadFile(a.Eim)
	if err != nil {
		return err
	}
	config, err := iot.ReadEimConfiguration(content)
	if err != nil {
		return &settingError{fmt.Sprintf("--eim: %s is no EimConfigurationData: %v", a.Eim, err)}
	}
	if a.kind != "iot" {
		return &settingError{"--eim: the eUICC does not speak SGP.32, and only our own eIM knows the agent's word for its"}
	}
	if a.ESipa == "" && config.FQDN == "" {
		return &settingError{"--eim: the configuration does not say where the eIM is: give --esipa"}
	}
	m := memory{EID: a.chip.EID(), Kind: a.kind, ESipa: strings.TrimSuffix(a.ESipa, "/"), Eim: config.Append(nil)}
	if err := a.state.save(m); err != nil {
		return err
	}
	a.memory = m
	return nil
}
