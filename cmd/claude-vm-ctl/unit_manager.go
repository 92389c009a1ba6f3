package main

import (
	"context"

	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"golang.org/x/sys/unix"
)

// unitManager is what a target asks of the user manager. It is *manager.Manager, or a
// fake in tests.
type unitManager interface {
	// The state of units.
	Unit(ctx context.Context, name string) (manager.Unit, error)
	Brief(ctx context.Context, names ...string) ([]manager.Unit, error)
	List(ctx context.Context, patterns ...string) ([]manager.Unit, error)
	Active(ctx context.Context, pattern string) ([]string, error)
	ServiceEnvironment(ctx context.Context, name string) (map[string]string, error)
	Program(ctx context.Context, name string) (string, error)
	Watch(ctx context.Context, name string, see func(manager.Unit) bool) error

	// Jobs and processes. Methods with a result wait until the job has finished.
	Start(ctx context.Context, name string) (result string, err error)
	Restart(ctx context.Context, name string) (result string, err error)
	Stop(ctx context.Context, name string) (result string, err error)
	StartTransient(ctx context.Context, t manager.Transient) (result string, err error)
	Cancel(ctx context.Context, name string) error
	Kill(ctx context.Context, name string, signal unix.Signal) error
	ResetFailed(ctx context.Context, name string) error

	// Unit files.
	Ref(ctx context.Context, name string) error
	Unref(ctx context.Context, name string) error
	Reload(ctx context.Context) error
	UnitPath() ([]string, error)
	Close()
}
