package protect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWatch replaces protected files outside of the mount namespace in which they are protected, in the
// ways of programs on the host.
func TestWatch(t *testing.T) {
	dir := makeTree(t, "env", "moved", "backup", "sub/dir/secret", "removed")
	cmd := inNamespaces(t, "PROTECT_TEST_WATCH="+dir)
	cmd.Stderr = os.Stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	answers := bufio.NewScanner(stdout)
	read := func(name string) string {
		fmt.Fprintln(stdin, name)
		if !answers.Scan() {
			t.Fatal("the process in the namespace has ended")
		}
		return answers.Text()
	}
	write := func(name string) error { return os.WriteFile(filepath.Join(dir, name), []byte("new"), 0o644) }
	rename := func(old, name string) error { return os.Rename(filepath.Join(dir, old), filepath.Join(dir, name)) }
	for name, replace := range map[string]func() error{
		"env":   func() error { return errors.Join(write("env.lock"), rename("env.lock", "env")) },
		"moved": func() error { return errors.Join(rename("moved", "moved~"), write("moved")) },
		"backup": func() error {
			return errors.Join(write("temp"), rename("backup", "backup.bak"), rename("temp", "backup"))
		},
		"sub/dir/secret": func() error {
			return errors.Join(rename("sub", "old"), os.MkdirAll(filepath.Join(dir, "sub/dir"), 0o755), write("sub/dir/secret"))
		},
		"removed": func() error { return errors.Join(os.Remove(filepath.Join(dir, "removed")), write("removed")) },
	} {
		if got := read(name); got != "" {
			t.Errorf("%s is not hidden before: %s", name, got)
		}
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		start, got := time.Now(), ""
		for got = read(name); got != "" && time.Since(start) < 3*time.Second; got = read(name) {
			time.Sleep(time.Millisecond)
		}
		if t.Logf("%s: %v", name, time.Since(start)); got != "" {
			t.Errorf("%s is not hidden any more: %s", name, got)
		}
	}
}

// watchFiles hides the files of TestWatch, and prints the content of those whose names it reads.
func watchFiles(dir string) error {
	scratch, mounts, err := protectTree(dir, "- env moved backup sub/dir/secret removed")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- Watch(ctx, scratch, []Shared{{dir, mounts}}, func(path, text string) {})
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		text, _ := os.ReadFile(filepath.Join(dir, lines.Text()))
		fmt.Println(strings.TrimSpace(string(text)))
	}
	cancel()
	return <-done
}
