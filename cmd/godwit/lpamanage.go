package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"godwit/ident"
	"godwit/lpa"
	"godwit/rsp"
)

type lpaListCommand struct{}

// lpaProfile is a profile in JSON.
type lpaProfile struct {
	ICCID    ident.ICCID `json:"iccid"`
	AID      string      `json:"aid"`
	State    string      `json:"state"`
	Name     string      `json:"name"`
	Provider string      `json:"service_provider"`
	Nickname string      `json:"nickname,omitempty"`
	Class    string      `json:"class"`
	PPR1     bool        `json:"ppr1,omitempty"` // cannot be disabled
	PPR2     bool        `json:"ppr2,omitempty"` // cannot be deleted
}

func (lpaListCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(_ context.Context, a *assistant) error {
		list, err := a.Chip.Profiles(rsp.Selector{})
		if err != nil {
			return err
		}
		out := []lpaProfile{}
		for _, p := range list {
			out = append(out, profileOf(p))
		}
		if l.JSON {
			return printJSON(out)
		}
		if len(out) == 0 {
			fmt.Fprintln(stdout, "No profiles.")
		}
		for _, p := range out {
			fmt.Fprintf(stdout, "%-20s  %-8s  %-11s  %s", p.ICCID, p.State, p.Class, p.Name)
			if p.Nickname != "" {
				fmt.Fprintf(stdout, " (%s)", p.Nickname)
			}
			fmt.Fprintln(stdout)
		}
		return nil
	})
}

func profileOf(p rsp.ProfileInfo) lpaProfile {
	out := lpaProfile{
		ICCID: p.ICCID, AID: fmt.Sprintf("%X", p.AID), State: "disabled", Name: value(p.Name), Provider: value(p.ServiceProvider),
		Nickname: value(p.Nickname), Class: rsp.ClassOperational.String(),
	}
	if p.Enabled != nil && *p.Enabled {
		out.State = "enabled"
	}
	if p.Class != nil {
		out.Class = p.Class.String()
	}
	if p.PPRs != nil {
		out.PPR1, out.PPR2 = *p.PPRs&rsp.PPR1 != 0, *p.PPRs&rsp.PPR2 != 0
	}
	return out
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// lpaChange is a command that changes one profile and reports it.
type lpaChange struct {
	ICCID string `arg:"" name:"iccid" help:"The profile: its ICCID, or the beginning of it if no other begins so."`
	Quiet bool   `name:"no-notify" help:"Leave the notifications in the eUICC."`
}

// change finds the profile, changes it and delivers the notifications.
func (c lpaChange) change(ctx context.Context, l *lpaCommand, done string, change func(*lpa.Chip, rsp.Selector) error) error {
	return l.with(ctx, func(ctx context.Context, a *assistant) error {
		iccid, err := find(a.Chip, c.ICCID)
		if err != nil {
			return err
		}
		if err := change(a.Chip, rsp.Selector{ICCID: iccid}); err != nil {
			return err
		}
		var deliveries []lpa.Delivery
		if !c.Quiet {
			if deliveries, err = a.Notify(ctx); err != nil {
				return err
			}
		}
		if l.JSON {
			return printJSON(struct {
				ICCID         ident.ICCID   `json:"iccid"`
				Result        string        `json:"result"`
				Notifications []lpaDelivery `json:"notifications"`
			}{iccid, done, deliveriesOf(deliveries)})
		}
		fmt.Fprintf(stdout, "%s is %s.\n", iccid, done)
		return printDeliveries(deliveries)
	})
}

// find returns the ICCID of the one profile that begins with s.
func find(chip *lpa.Chip, s string) (ident.ICCID, error) {
	list, err := chip.Profiles(rsp.Selector{})
	if err != nil {
		return "", err
	}
	var found []ident.ICCID
	for _, p := range list {
		if string(p.ICCID) == s {
			return p.ICCID, nil
		}
		if strings.HasPrefix(string(p.ICCID), s) {
			found = append(found, p.ICCID)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("the eUICC has no profile whose ICCID begins with %s", s)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%d profiles have an ICCID that begins with %s: give more digits", len(found), s)
}

type lpaEnableCommand struct{ lpaChange }

func (c lpaEnableCommand) Run(ctx context.Context, l *lpaCommand) error {
	return c.change(ctx, l, "enabled", func(chip *lpa.Chip, s rsp.Selector) error { return chip.Enable(s, false) })
}

type lpaDisableCommand struct{ lpaChange }

func (c lpaDisableCommand) Run(ctx context.Context, l *lpaCommand) error {
	return c.change(ctx, l, "disabled", func(chip *lpa.Chip, s rsp.Selector) error { return chip.Disable(s, false) })
}

type lpaDeleteCommand struct{ lpaChange }

func (c lpaDeleteCommand) Run(ctx context.Context, l *lpaCommand) error {
	return c.change(ctx, l, "deleted", func(chip *lpa.Chip, s rsp.Selector) error { return chip.Delete(s) })
}

type lpaNicknameCommand struct {
	lpaChange
	Name string `arg:"" optional:"" help:"The name; none takes it away."`
}

func (c lpaNicknameCommand) Run(ctx context.Context, l *lpaCommand) error {
	c.Quiet = true // there is nothing to report
	done := fmt.Sprintf("named %q", c.Name)
	if c.Name == "" {
		done = "without a nickname"
	}
	return c.change(ctx, l, done, func(chip *lpa.Chip, s rsp.Selector) error { return chip.SetNickname(s.ICCID, c.Name) })
}

type lpaNotifications struct {
	List lpaNotificationsListCommand `cmd:"" default:"withargs" help:"List what waits."`
	Send lpaNotificationsSendCommand `cmd:"" help:"Deliver what waits."`
}

type lpaNotificationsListCommand struct{}

// lpaDelivery is a notification in JSON.
type lpaDelivery struct {
	Sequence  int64       `json:"seq"`
	Event     string      `json:"event"`
	ICCID     ident.ICCID `json:"iccid,omitempty"`
	Address   string      `json:"address"`
	Delivered bool        `json:"delivered"`
	Error     string      `json:"error,omitempty"`
}

func deliveryOf(n rsp.NotificationMetadata) lpaDelivery {
	return lpaDelivery{Sequence: n.Sequence, Event: n.Event.String(), ICCID: n.ICCID, Address: n.Address}
}

func deliveriesOf(list []lpa.Delivery) []lpaDelivery {
	out := []lpaDelivery{}
	for _, d := range list {
		told := deliveryOf(d.Metadata)
		told.Delivered = d.Err == nil
		if d.Err != nil {
			told.Error = d.Err.Error()
		}
		out = append(out, told)
	}
	return out
}

// printDeliveries prints what became of notifications.
func printDeliveries(list []lpa.Delivery) error {
	for _, d := range deliveriesOf(list) {
		fate := "delivered"
		if !d.Delivered {
			fate = "waits: " + d.Error
		}
		fmt.Fprintf(stdout, "%6d  %-8s  %-20s  %s  %s\n", d.Sequence, d.Event, d.ICCID, d.Address, fate)
	}
	return nil
}

func (lpaNotificationsListCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(_ context.Context, a *assistant) error {
		list, err := a.Chip.Pending()
		if err != nil {
			return err
		}
		out := []lpaDelivery{}
		for _, n := range list {
			out = append(out, deliveryOf(n))
		}
		if l.JSON {
			return printJSON(out)
		}
		if len(out) == 0 {
			fmt.Fprintln(stdout, "Nothing waits.")
		}
		for _, n := range out {
			fmt.Fprintf(stdout, "%6d  %-8s  %-20s  %s\n", n.Sequence, n.Event, n.ICCID, n.Address)
		}
		return nil
	})
}

type lpaNotificationsSendCommand struct {
	Wait bool `help:"Try again, with pauses, until everything is delivered or --timeout is over."`
}

func (c lpaNotificationsSendCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(ctx context.Context, a *assistant) error {
		send := a.Notify
		if c.Wait {
			send = a.NotifyUntil
		}
		list, err := send(ctx)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if l.JSON {
			err = printJSON(deliveriesOf(list))
		} else {
			err = printDeliveries(list)
		}
		if err == nil && slices.ContainsFunc(list, func(d lpa.Delivery) bool { return d.Err != nil }) {
			return exitError(exitFailed) // the list has said why
		}
		return err
	})
}

type lpaInfoCommand struct{}

// lpaInfo is what the eUICC says of itself, in JSON.
type lpaInfo struct {
	EID             ident.EID `json:"eid"`
	DefaultDP       string    `json:"default_smdp,omitempty"`
	RootDS          string    `json:"root_smds,omitempty"`
	SVN             string    `json:"svn"`
	ProfileVersion  string    `json:"profile_version"`
	Firmware        string    `json:"firmware"`
	FreeNonVolatile uint32    `json:"free_nonvolatile"`
	FreeVolatile    uint32    `json:"free_volatile"`
	Verification    []string  `json:"ci_verification"`
	Signing         []string  `json:"ci_signing"`
	Capability      string    `json:"uicc_capability"`
	RSPCapability   string    `json:"rsp_capability"`
	SAS             string    `json:"sas_accreditation"`
}

func (lpaInfoCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(_ context.Context, a *assistant) error {
		eid, err := a.Chip.EID()
		if err != nil {
			return err
		}
		addresses, err := a.Chip.Addresses()
		if err != nil {
			return err
		}
		info, err := a.Chip.Info2()
		if err != nil {
			return err
		}
		out := lpaInfo{
			EID: eid, DefaultDP: addresses.DefaultDP, RootDS: addresses.RootDS, SVN: info.SVN.String(),
			ProfileVersion: info.ProfileVersion.String(), Firmware: info.Firmware.String(),
			FreeNonVolatile: info.Resource.FreeNonVolatile, FreeVolatile: info.Resource.FreeVolatile,
			Verification: upperHexes(info.Verification), Signing: upperHexes(info.Signing),
			Capability: fmt.Sprintf("%b", info.UICC), RSPCapability: fmt.Sprintf("%b", info.RSP), SAS: info.SASAccreditation,
		}
		if l.JSON {
			return printJSON(out)
		}
		for _, line := range [][2]string{
			{"EID", string(out.EID)},
			{"default SM-DP+", out.DefaultDP},
			{"root SM-DS", out.RootDS},
			{"SGP.22", out.SVN},
			{"profile package", out.ProfileVersion},
			{"firmware", out.Firmware},
			{"free memory", fmt.Sprintf("%d octets", out.FreeNonVolatile)},
			{"CI, verification", strings.Join(out.Verification, " ")},
			{"CI, signing", strings.Join(out.Signing, " ")},
		} {
			fmt.Fprintf(stdout, "%-17s %s\n", line[0], line[1])
		}
		return nil
	})
}

// upperHexes returns key identifiers as people compare them.
func upperHexes(list [][]byte) []string {
	out := []string{}
	for _, b := range list {
		out = append(out, fmt.Sprintf("%X", b))
	}
	return out
}

type lpaChipCommand struct {
	DefaultSMDP lpaChipDefaultCommand `cmd:"" name:"default-smdp" help:"Set or clear the default SM-DP+."`
	Reset       lpaChipResetCommand   `cmd:"" help:"Delete profiles, or the default SM-DP+."`
}

type lpaChipDefaultCommand struct {
	Address string `arg:"" optional:"" help:"The address; none clears it."`
}

func (c lpaChipDefaultCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(_ context.Context, a *assistant) error {
		if c.Address != "" {
			if err := rsp.CheckAddress(c.Address); err != nil {
				return err
			}
		}
		if err := a.Chip.SetDefaultDP(c.Address); err != nil {
			return err
		}
		if l.JSON {
			return printJSON(map[string]string{"default_smdp": c.Address})
		}
		return nil
	})
}

type lpaChipResetCommand struct {
	Operational bool `help:"Delete the operational profiles."`
	Test        bool `help:"Delete the test profiles that were downloaded."`
	DefaultSMDP bool `name:"default-smdp" help:"Clear the default SM-DP+."`
}

func (c lpaChipResetCommand) Run(ctx context.Context, l *lpaCommand) error {
	var options rsp.ResetOptions
	for option, wanted := range map[rsp.ResetOptions]bool{
		rsp.ResetOperational: c.Operational, rsp.ResetFieldTest: c.Test, rsp.ResetDefaultDP: c.DefaultSMDP,
	} {
		if wanted {
			options |= option
		}
	}
	if options == 0 {
		fmt.Fprintln(os.Stderr, "godwit: say what goes: --operational, --test or --default-smdp")
		return exitError(exitUsage)
	}
	return l.with(ctx, func(ctx context.Context, a *assistant) error {
		if err := a.Chip.Reset(options); err != nil {
			return err
		}
		deliveries, err := a.Notify(ctx)
		if err != nil {
			return err
		}
		if l.JSON {
			return printJSON(deliveriesOf(deliveries))
		}
		return printDeliveries(deliveries)
	})
}
