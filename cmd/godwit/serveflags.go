package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"godwit/carrier"
	"godwit/db"
	"godwit/web"
)

// Validate refuses what cannot be served before anything is made on disk: a
// typing error is not to leave a data directory behind, nor certificates with
// the wrong name.
func (c serveCommand) Validate() error {
	if err := checkListen(c.Listen); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	for _, listen := range c.RSPListen {
		address, set, named := strings.Cut(listen, "=")
		if err := checkListen(address); err != nil {
			return fmt.Errorf("--rsp-listen: %w", err)
		}
		if named && (set == "" || strings.Contains(set, "=")) {
			return fmt.Errorf("--rsp-listen: %q is not HOST:PORT=SET; sets are listed by `godwit pki show`", listen)
		}
	}
	for _, given := range c.SMDPAddress {
		address, set, named := strings.Cut(given, "=")
		if err := checkSMDPAddress(address); err != nil {
			return fmt.Errorf("--smdp-address: %w", err)
		}
		if named && !slices.ContainsFunc(c.RSPListen, func(l string) bool { return setOf(l) == set }) {
			return fmt.Errorf("--smdp-address: %q names the set %q, and no --rsp-listen does", given, set)
		}
	}
	if c.PublicURL != "" {
		if _, err := web.ParsePublicURL(c.PublicURL); err != nil {
			return fmt.Errorf("--public-url: %w", err)
		}
	}
	if _, err := proxies(c.TrustedProxy); err != nil {
		return err
	}
	if _, err := callbackOptions(c.CallbackAllow); err != nil {
		return err
	}
	if scheme, _, _ := strings.Cut(c.Database, ":"); scheme != "" && scheme != "sqlite" && scheme != "postgres" && scheme != "postgresql" {
		return fmt.Errorf("--database: a database is sqlite, sqlite:PATH or postgres://…, not of kind %q", scheme)
	}
	if c.OrderLifetime < 0 {
		return fmt.Errorf("--order-lifetime: a time of 1s or more, as 720h, not %s", c.OrderLifetime)
	}
	if _, err := c.policy(); err != nil {
		return err
	}
	if err := errors.Join(c.fieldFlags.check(), c.sandboxFlags.check()); err != nil {
		return err
	}
	if c.RetryFailed < 0 || c.AccountRate < 0 || c.Concurrent < 0 {
		return errors.New("--retry-failed-installations, --account-rate and --account-concurrent: a number from 0")
	}
	if _, _, err := c.smsc(); err != nil {
		return err
	}
	if _, err := c.commandFlags.devices(); err != nil {
		return err
	}
	if _, err := c.gateways(); err != nil {
		return err
	}
	for name, address := range map[string]string{"--radius-listen": c.RADIUSListen, "--ip-command-listen": c.IPCommandListen, "--debug-listen": c.DebugListen} {
		if address == "" {
			continue
		}
		if err := checkListen(address); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	network, err := carrier.Open(c.Core, nil)
	if err != nil {
		return fmt.Errorf("--core: %w", err)
	}
	if err := network.Close(); err != nil {
		return fmt.Errorf("--core: %w", err)
	}
	if c.MasterKey != "" {
		if _, err := db.ParseMasterKey(c.MasterKey); err != nil {
			return fmt.Errorf("--master-key: %w", err)
		}
	}
	return nil
}

// setOf returns the trust set that an --rsp-listen names.
func setOf(listen string) string {
	if _, set, named := strings.Cut(listen, "="); named {
		return set
	}
	return testSet
}

// checkListen refuses what is no address to listen at; port 0 is any free one.
func checkListen(address string) error {
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT, as 127.0.0.1:8080", address)
	}
	if n, err := strconv.Atoi(p); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is not HOST:PORT: a port is a number from 0 to 65535", address)
	}
	return nil
}

// hostName is a DNS name as certificates hold it (RFC 1123, 2.1).
var hostName = regexp.MustCompile(`^(?i:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(?i:\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// checkSMDPAddress refuses what activation codes cannot carry as the address of an
// SM-DP+ (SGP.22 v2.5, 4.1): it has neither scheme nor path.
func checkSMDPAddress(address string) error {
	if strings.Contains(address, "/") {
		return fmt.Errorf("%q is not HOST or HOST:PORT, as smdp.example.com: give it without scheme and path", address)
	}
	host := address
	if h, p, err := net.SplitHostPort(address); err == nil {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%q is not HOST or HOST:PORT: a port is a number from 1 to 65535", address)
		}
		host = h
	}
	if _, err := netip.ParseAddr(host); err != nil && (len(host) > 253 || !hostName.MatchString(host)) {
		return fmt.Errorf("%q is not HOST or HOST:PORT, as smdp.example.com: a host is a DNS name or an IP address", address)
	}
	return nil
}

// proxies reads the networks whose headers are believed.
func proxies(list []string) (all []netip.Prefix, err error) {
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxy: a network such as 10.0.0.0/8, not %q", text)
		}
		all = append(all, p)
	}
	return all, nil
}
