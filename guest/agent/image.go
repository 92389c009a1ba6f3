package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// prepareImage adds to a container image what Claude Code and the agent need. It runs in the
// image, whose changes are in memory. path is the value of PATH.
func prepareImage(tools []tool, path string) error {
	for _, dir := range []string{"/etc/profile.d", "/home", "/root", "/tmp", "/usr/bin", "/var/tmp"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(workDir); err != nil { // a name that images use, too
		return err
	}
	if err := errors.Join(os.Chmod("/tmp", 0o777|os.ModeSticky), os.Chmod("/var/tmp", 0o777|os.ModeSticky)); err != nil {
		return err
	}
	if _, err := os.Stat(baseDir + storeDir); err == nil {
		if err := bind(baseDir+storeDir, storeDir); err != nil {
			return err
		}
	}
	return errors.Join(linkTools(tools), addFiles(path), addPrograms(), addLibraries(), addUsers())
}

// bind mounts a directory of the guest in the image.
func bind(source, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "mount", Path: target, Err: err}
	}
	return nil
}

// addFiles adds configuration files of the guest. In an image, those of the network are empty
// or missing, because container engines mount them.
func addFiles(path string) error {
	var errs []error
	for _, name := range []string{"/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/resolv.conf", "/etc/claude-code/CLAUDE.md"} {
		text, err := os.ReadFile(baseDir + name)
		if err == nil {
			err = replaceFile(name, text, 0o644)
		}
		errs = append(errs, err)
	}
	errs = append(errs, appendGitConfig())
	const certificates = "/etc/ssl/certs/ca-certificates.crt" // of programs of the guest
	if _, err := os.Stat(certificates); err != nil {
		if text, err := os.ReadFile(baseDir + certificates); err == nil {
			errs = append(errs, replaceFile(certificates, text, 0o644))
		}
	}
	// Many /etc/profile replace PATH, and then include this file.
	errs = append(errs, replaceFile("/etc/profile.d/claude-vm.sh", []byte("# PATH of the image\nPATH='"+strings.ReplaceAll(path, "'", `'\''`)+"'\n"), 0o644))
	return errors.Join(errs...)
}

// appendGitConfig adds the guest's configuration to that of the image, whose git reads it, too.
func appendGitConfig() error {
	const name = "/etc/gitconfig"
	ours, err := os.ReadFile(baseDir + name)
	if err != nil {
		return nil // NixOS: a link to a path that the image does not have
	}
	theirs, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replaceFile(name, append(append(theirs, '\n'), ours...), 0o644)
}

// addPrograms adds the two programs that scripts expect at fixed paths.
func addPrograms() error {
	for path, tool := range map[string]string{"/bin/sh": "sh", "/usr/bin/env": "env"} {
		if isProgram(path) {
			continue
		}
		if err := replaceLink(toolsDir+"/"+tool, path); err != nil {
			return err
		}
	}
	return nil
}

// addLibraries adds the C library for Claude Code, if the image has none or is based on musl.
// Claude Code cannot be executed through a dynamic linker, as tools are: it reads itself.
func addLibraries() error {
	linkers, err := filepath.Glob(baseDir + "/usr/lib/*-linux-gnu/ld-linux-*.so.*")
	if err != nil || len(linkers) == 0 { // NixOS: Claude Code has the paths of its libraries
		return err
	}
	libraries := filepath.Dir(linkers[0])
	interpreter := "/lib64/" + filepath.Base(linkers[0])
	if strings.Contains(interpreter, "aarch64") {
		interpreter = "/lib/" + filepath.Base(linkers[0])
	}
	musl, err := filepath.Glob("/lib/ld-musl-*.so.1")
	// With musl, the interpreter is a replacement for simple programs (gcompat).
	if err != nil || len(musl) == 0 && isProgram(interpreter) {
		return err
	}
	if err := replaceLink(linkers[0], interpreter); err != nil {
		return err
	}
	// The dynamic linker searches this directory.
	dir := "/lib/" + filepath.Base(libraries)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	names, err := filepath.Glob(libraries + "/lib*.so.*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Symlink(name, filepath.Join(dir, filepath.Base(name))); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// replaceFile writes a file in place of a file or link.
func replaceFile(name string, text []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, text, mode)
}

// replaceLink creates a link in place of a file or link.
func replaceLink(target, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(target, name)
}

// claudeHome is Claude's home directory, also in an image where it is a link to the home
// directory of the image's own user.
const claudeHome = "/home/claude"

// addUsers adds the users root and claude, and the home directory of claude.
func addUsers() error {
	var users users
	files := map[string]*string{"/etc/passwd": &users.passwd, "/etc/group": &users.group, "/etc/shadow": &users.shadow}
	for name, text := range files {
		data, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		*text = string(data)
	}
	home := users.add()
	for name, text := range files {
		mode := fs.FileMode(0o644)
		if name == "/etc/shadow" {
			mode = 0o600
		}
		if err := replaceFile(name, []byte(*text), mode); err != nil {
			return err
		}
	}
	if home != claudeHome {
		if _, err := os.Lstat(claudeHome); errors.Is(err, fs.ErrNotExist) {
			return os.Symlink(home, claudeHome)
		}
		return nil
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	return os.Lchown(home, claudeID, claudeID)
}

// users are the contents of the user database.
type users struct{ passwd, group, shadow string }

// add adds what is missing, and returns the home directory of claude. A user of the image with
// Claude's ID is used as it is, with its name, unless it has no home directory of its own.
func (u *users) add() (home string) {
	if findEntry(u.passwd, 2, "0") == nil {
		u.passwd = addLine(u.passwd, "root:x:0:0:root:/root:/bin/sh")
	}
	if findEntry(u.group, 2, "0") == nil {
		u.group = addLine(u.group, "root:x:0:")
	}
	id := fmt.Sprint(claudeID)
	if findEntry(u.group, 2, id) == nil {
		u.group = addLine(u.group, freeName(u.group)+":x:"+id+":")
	}
	entry := findEntry(u.passwd, 2, id)
	if len(entry) >= 7 && strings.Count(entry[5], "/") > 1 && entry[5] != claudeHome {
		if info, err := os.Stat(entry[5]); err == nil && info.IsDir() {
			return entry[5]
		}
	}
	name := freeName(u.passwd)
	if entry != nil { // the first of two users with the same ID is found
		name = entry[0]
		u.passwd = name + ":x:" + id + ":" + id + "::" + claudeHome + ":/bin/sh\n" + u.passwd
	} else {
		u.passwd = addLine(u.passwd, name+":x:"+id+":"+id+"::"+claudeHome+":/bin/sh")
	}
	if findEntry(u.shadow, 0, name) == nil { // sudo and su need one
		u.shadow = addLine(u.shadow, name+":*:::::::")
	}
	return claudeHome
}

// freeName returns a name for claude that the file does not have.
func freeName(text string) string {
	name := "claude"
	for findEntry(text, 0, name) != nil {
		name += "-vm"
	}
	return name
}

// findEntry returns the fields of the first line in which a field has a value.
func findEntry(text string, field int, value string) []string {
	for line := range strings.Lines(text) {
		if fields := strings.Split(strings.TrimRight(line, "\r\n"), ":"); len(fields) > field && fields[field] == value {
			return fields
		}
	}
	return nil
}

func addLine(text, line string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + line + "\n"
}
