package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"godwit/account"
	"godwit/db"
	"godwit/event"
)

// userCommand looks after the users of the Remote Manager API.
type userCommand struct {
	Add      userAddCommand      `cmd:"" help:"Add a user."`
	List     userListCommand     `cmd:"" help:"List users."`
	Role     userRoleCommand     `cmd:"" help:"Give a user another role."`
	Password userPasswordCommand `cmd:"" help:"Give a user another password."`
	Remove   userRemoveCommand   `cmd:"" help:"Remove a user and its API keys."`
	APIKeys  userAPIKeysCommand  `cmd:"" name:"api-keys" help:"Say whether users of an account may have API keys."`
}

// userFlags say whose users are meant.
type userFlags struct {
	dataFlags
	Account string `help:"Account; the main account when empty." placeholder:"AC…"`
}

// with runs fn in a transaction on the accounts, with the account that is meant.
func (f userFlags) with(ctx context.Context, fn func(s *account.Store, tx *db.Tx, sid string) error) error {
	d, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	s := account.New(d, event.New(d))
	return d.Write(ctx, func(tx *db.Tx) error {
		sid := f.Account
		if sid == "" {
			if sid, err = mainAccount(ctx, tx, s); err != nil {
				return err
			}
			if sid == "" {
				return errors.New("there is no account yet: start `godwit serve` first")
			}
		}
		return fn(s, tx, sid)
	})
}

// passwordFlags tell a password without showing it to the list of processes.
type passwordFlags struct {
	PasswordStdin bool `help:"Read the password from standard input; otherwise one is made and printed."`
}

func (f passwordFlags) password(ctx context.Context) (account.Password, error) {
	if !f.PasswordStdin {
		return account.NewPassword(ctx, "")
	}
	text, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<10))
	if err != nil {
		return account.Password{}, err
	}
	given := strings.TrimRight(string(text), "\r\n")
	if given == "" {
		return account.Password{}, errors.New("there is no password on standard input")
	}
	return account.NewPassword(ctx, given)
}

// show prints a password that was made.
func (f passwordFlags) show(p account.Password) {
	if !f.PasswordStdin {
		fmt.Fprintf(stdout, "password %s (it is not shown again)\n", string(p.Text))
	}
}

type userAddCommand struct {
	userFlags
	passwordFlags
	Name string `arg:"" help:"Name that the user logs in with."`
	Role string `default:"user" help:"administrator, user, read-only user, application or read-only application."`
}

func (c userAddCommand) Run(ctx context.Context) error {
	role, err := account.ParseRole(c.Role)
	if err != nil {
		return err
	}
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	var u account.User
	if err := c.with(ctx, func(s *account.Store, tx *db.Tx, sid string) (err error) {
		u, err = s.CreateUser(ctx, tx, account.User{Name: c.Name, Account: sid, Role: role}, password, false)
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "user %s, %s\n", u.Name, u.Role)
	c.show(password)
	return nil
}

type userListCommand struct {
	userFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c userListCommand) Run(ctx context.Context) error {
	var list []account.User
	if err := c.with(ctx, func(s *account.Store, tx *db.Tx, sid string) (err error) {
		list, err = s.Users(ctx, tx, sid)
		return err
	}); err != nil {
		return err
	}
	if c.JSON {
		type row struct {
			Name    string `json:"name"`
			Account string `json:"account_sid"`
			Role    string `json:"role"`
			Created string `json:"created"`
		}
		rows := []row{}
		for _, u := range list {
			rows = append(rows, row{u.Name, u.Account, string(u.Role), u.CreatedAt.UTC().Format("2006-01-02T15:04:05.000Z")})
		}
		return printJSON(rows)
	}
	for _, u := range list {
		fmt.Fprintf(stdout, "%-24s %s\n", u.Name, u.Role)
	}
	return nil
}

type userRoleCommand struct {
	userFlags
	Name string `arg:"" help:"The user."`
	Role string `arg:"" help:"administrator, user, read-only user, application or read-only application."`
}

func (c userRoleCommand) Run(ctx context.Context) error {
	role, err := account.ParseRole(c.Role)
	if err != nil {
		return err
	}
	return c.with(ctx, func(s *account.Store, tx *db.Tx, sid string) error {
		_, err := s.SetRole(ctx, tx, sid, c.Name, role)
		return err
	})
}

type userPasswordCommand struct {
	userFlags
	passwordFlags
	Name string `arg:"" help:"The user."`
}

func (c userPasswordCommand) Run(ctx context.Context) error {
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	if err := c.with(ctx, func(s *account.Store, tx *db.Tx, sid string) error {
		return s.SetPassword(ctx, tx, sid, c.Name, password)
	}); err != nil {
		return err
	}
	c.show(password)
	return nil
}

type userRemoveCommand struct {
	userFlags
	Name string `arg:"" help:"The user."`
}

func (c userRemoveCommand) Run(ctx context.Context) error {
	return c.with(ctx, func(s *account.Store, tx *db.Tx, sid string) error { return s.DeleteUser(ctx, tx, sid, c.Name) })
}

type userAPIKeysCommand struct {
	userFlags
	State string `arg:"" enum:"on,off" help:"on or off."`
}

func (c userAPIKeysCommand) Run(ctx context.Context) error {
	return c.with(ctx, func(s *account.Store, tx *db.Tx, sid string) error {
		return s.AllowAPIKeys(ctx, tx, sid, c.State == "on")
	})
}
