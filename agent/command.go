package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"godwit/reader"
)

// Command is the command line; its tags are those of kong.
type Command struct {
	Server string   `help:"Address of the server's API." placeholder:"URL"`
	Eim    string   `name:"eim" type:"existingfile" help:"Configuration of an eIM that is no Godwit server's (EimConfigurationData, DER or base64), in place of --server: nothing is enrolled or reported there." placeholder:"FILE"`
	ESipa  string   `name:"esipa" help:"Where that eIM is reached. Default: https:// and the FQDN in its configuration." placeholder:"URL"`
	Card   string   `required:"" help:"Way to the eUICC: at:/dev/ttyUSB2, qmi:/dev/cdc-wdm0, mbim:/dev/cdc-wdm0, qrtr:, pcsc:READER, exec:PROGRAM, euicc:DIR." placeholder:"WAY"`
	State  string   `help:"Directory for what the agent must not lose." type:"path" default:"/var/lib/godwit-agent" placeholder:"DIR"`
	CA     []string `name:"ca" type:"existingfile" help:"Certificates, PEM, of CIs and authorities whose servers are accepted, beside those of the system." placeholder:"FILE"`

	DeviceID    string `name:"device-id" help:"ID of the device, four groups of eight hexadecimal digits. Default: made from the MAC address." placeholder:"ID"`
	MAC         string `name:"mac" help:"MAC address that the ID is made of. Default: that of the first network interface with one." placeholder:"ADDRESS"`
	IMEI        string `name:"imei" help:"IMEI that the ID is made of, where the device has no MAC address." placeholder:"DIGITS"`
	InstallCode string `help:"Install code of the device, for the first enrolment." placeholder:"CODE"`
	User        string `help:"User who may register devices, for the first enrolment, where there is no install code." placeholder:"NAME"`
	Password    string `help:"Password of the user." placeholder:"PASSWORD"`

	Chip      string        `help:"What the eUICC speaks: iot (SGP.32) or consumer (SGP.22; the agent does the rest)." enum:"auto,iot,consumer" default:"auto"`
	Download  string        `help:"How profiles come: from the SM-DP+ (direct), or through the eIM (indirect). By itself it is direct where certificates of CIs are known." enum:"auto,direct,indirect" default:"auto"`
	JSON      bool          `name:"json" help:"Speak the JSON binding with the eIM in place of ASN.1."`
	Poll      time.Duration `help:"How often to ask the eIM, as 5m. Default: what the server says." placeholder:"DURATION"`
	Report    time.Duration `help:"How often to report at least; changes are reported within a minute." default:"15m"`
	Reach     string        `name:"reach-command" help:"Program that ends with 0 when the network is there, run after a profile was enabled." placeholder:"PROGRAM"`
	ReachFor  time.Duration `help:"How long the eIM may be out of reach through a new profile before the old one comes back." default:"5m"`
	Fallback  time.Duration `name:"fallback-after" help:"How long the eIM may be out of reach before the fallback profile is enabled. Never by default." placeholder:"DURATION"`
	Confirm   string        `name:"confirmation-code" help:"Confirmation code for SM-DP+s that ask the device for one." placeholder:"CODE"`
	Modem     string        `help:"AT port that facts are asked at, where the card is reached another way: /dev/ttyUSB2." placeholder:"DEVICE"`
	Firmware  string        `name:"firmware-file" help:"File whose first line, or PRETTY_NAME, is the firmware's version." default:"/etc/os-release" placeholder:"FILE"`
	Metrics   string        `name:"metrics-listen" help:"Where Prometheus finds metrics; off by default." placeholder:"HOST:PORT"`
	Connect   string        `help:"Connect here for TLS, whatever address a server has; for laboratories." placeholder:"HOST:PORT"`
	AllowHTTP bool          `name:"allow-http" help:"Speak plain HTTP with a server on another machine. Whoever listens gets the token."`
	Once      bool          `help:"Do what waits, then end."`
	Verbose   bool          `short:"v" help:"Log every poll and step."`
}

// Version is told to the server.
var Version = "dev"

// Run works until the context ends.
func (c Command) Run(ctx context.Context) error {
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	return c.run(ctx, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
}

func (c Command) run(ctx context.Context, log *slog.Logger) error {
	if err := c.check(); err != nil {
		return err
	}
	a, err := c.open(log)
	if err != nil {
		return err
	}
	defer a.close()
	if c.Metrics != "" {
		stop, err := a.metrics.serve(c.Metrics)
		if err != nil {
			return fmt.Errorf("--metrics-listen: %w", err)
		}
		defer stop()
	}
	return a.work(ctx)
}

// check finds what is wrong before anything is touched.
func (c *Command) check() error {
	if (c.Server == "") == (c.Eim == "") {
		return errors.New("--server or --eim: one of them says who manages the eUICC")
	}
	if err := c.checkServer(); err != nil {
		return err
	}
	if err := reader.Check(c.Card); err != nil {
		return fmt.Errorf("--card: %w", err)
	}
	if c.InstallCode != "" && c.User != "" {
		return errors.New("--install-code and --user: one of them vouches for the device")
	}
	if (c.User == "") != (c.Password == "") {
		return errors.New("--user and --password go together")
	}
	if c.Poll < 0 || c.Poll > 0 && c.Poll < time.Second {
		return errors.New("--poll: at least a second")
	}
	if c.Report < time.Minute {
		return errors.New("--report: at least a minute")
	}
	if _, _, err := net.SplitHostPort(c.Connect); c.Connect != "" && err != nil {
		return fmt.Errorf("--connect: %w", err)
	}
	return nil
}

// checkServer finds what is wrong with the address of the server or the eIM.
func (c *Command) checkServer() error {
	if c.Eim != "" {
		u, err := url.Parse(c.ESipa)
		if err != nil || c.ESipa != "" && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("--esipa: the address of an eIM begins with https://, not %q", c.ESipa)
		}
		if u.Scheme == "http" && !c.AllowHTTP && !loopback(u.Hostname()) {
			return fmt.Errorf("--esipa: %s could be changed by everybody on the way: use https, or say --allow-http", c.ESipa)
		}
		return nil
	}
	u, err := url.Parse(c.Server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("--server: the address of a server begins with https://, not %q", c.Server)
	}
	if u.Scheme == "http" && !c.AllowHTTP && !loopback(u.Hostname()) {
		return fmt.Errorf("--server: %s would have the token read by everybody on the way: use https, or say --allow-http", c.Server)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("--server: the address is scheme, host and path only; credentials have flags of their own")
	}
	c.Server = strings.TrimSuffix(c.Server, "/")
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
