package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// networkDropIn is the name of the drop-in that "network --save" writes, so that the user's own
// file stays as it is.
const networkDropIn = "50-network.conf"

// saveNetwork adds a line for key to a drop-in of the .vm file, which it creates if there is
// none, and applies the .vm files.
func (v *target) saveNetwork(ctx context.Context, out *output, key string, words []string) error {
	config := v.paths.ConfigFiles()
	unlock, err := lockEdit(config)
	if err != nil {
		return err
	}
	defer unlock()
	var created []string // removed if the change cannot be saved
	defer func() {
		for _, file := range created {
			os.Remove(file)
		}
	}()
	file := v.vmFile()
	if file == "" {
		d, err := newDocument(config, v.dir, v.paths)
		if err != nil {
			return err
		}
		if err := saveText(d, d.original); err != nil {
			return err
		}
		file = d.file
		created = append(created, file)
	}
	dir := filepath.Join(config, filepath.Base(file)+".d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return failure.Plain(err)
	}
	name := filepath.Join(dir, networkDropIn)
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		text, err = []byte("[Network]\n"), os.WriteFile(name, []byte("[Network]\n"), 0o644)
		created = append(created, name)
	}
	if err != nil {
		return failure.Plain(err)
	}
	d, err := openDocument(config, name, "", v.dir, "")
	if err != nil {
		return err
	}
	for _, word := range words {
		line := key + "=" + unitfile.Join([]string{strings.ReplaceAll(word, "%", "%%")}) + "\n"
		if !strings.Contains(string(text), "\n"+line) {
			text = append(text, line...)
		}
	}
	if errs := d.check(text, v.paths); len(errs) > 0 {
		return failure.New(failure.Failed, "claude-vm-ctl edit"+v.hintArg(), "not saved: %w", errs[0])
	}
	if err := saveText(d, text); err != nil {
		return err
	}
	created = nil
	out.note("saved %s", d.file)
	d.dir = "" // the change is already applied to the running VM
	return d.apply(context.WithoutCancel(ctx), out, v.paths)
}

// saveText saves the text of a document.
func saveText(d *document, text []byte) error {
	temporary, err := d.createTemporary()
	if err != nil {
		return err
	}
	if err = os.WriteFile(temporary, text, 0o600); err == nil {
		err = d.save(temporary)
	}
	if err != nil {
		os.Remove(temporary)
		return fmt.Errorf("%s is not saved: %w", d.file, failure.Plain(err))
	}
	return nil
}
