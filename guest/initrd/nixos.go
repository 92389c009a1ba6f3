//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sysroot is also part of the table's options: NixOS puts it before the directories of an
// overlay.
const sysroot = "/sysroot"

// bootNixOS mounts the file systems of table, activates the system whose init= is on the
// kernel command line, and executes its systemd. The table has all file systems of
// boot.specialFileSystems, and those of fileSystems that are needed for boot, each after
// those it depends on.
func bootNixOS(table, cmdline string) error {
	mounts, err := parseTable(table)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if err := m.mount(); err != nil {
			return err
		}
	}
	for _, name := range kernelFilesystems {
		if err := unix.Unmount(name, unix.MNT_DETACH); err != nil {
			return &os.PathError{Op: "unmount", Path: name, Err: err}
		}
	}
	if err := enterRoot(sysroot); err != nil {
		return err
	}
	init := option(cmdline, "init=")
	if err := activate(filepath.Join(filepath.Dir(init), "prepare-root")); err != nil {
		return err
	}
	return execute(init)
}

// activate runs a system's prepare-root as NixOS's own initrd does.
func activate(script string) error {
	process, err := os.StartProcess(script, []string{script}, &os.ProcAttr{
		Env:   append(os.Environ(), "IN_NIXOS_SYSTEMD_STAGE1=true"),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return err
	}
	state, err := process.Wait()
	if err == nil && !state.Success() {
		err = errors.New(script + ": " + state.String())
	}
	return err
}

// fileSystem is one line of the table.
type fileSystem struct {
	device, target, fstype string
	flags                  uintptr
	data                   string   // the options that only the file system knows
	dirs                   []string // the writable directories of an overlay
}

// mountFlags are the options that are the kernel's for all file systems, and those that only
// programs use.
var mountFlags = map[string]uintptr{
	"_netdev":     0,
	"auto":        0,
	"bind":        unix.MS_BIND,
	"defaults":    0,
	"noatime":     unix.MS_NOATIME,
	"nofail":      0,
	"nodev":       unix.MS_NODEV,
	"nodiratime":  unix.MS_NODIRATIME,
	"noexec":      unix.MS_NOEXEC,
	"nosuid":      unix.MS_NOSUID,
	"rbind":       unix.MS_BIND | unix.MS_REC,
	"relatime":    unix.MS_RELATIME,
	"ro":          unix.MS_RDONLY,
	"rw":          0,
	"strictatime": unix.MS_STRICTATIME,
}

// parseTable parses the format of fstab(5).
func parseTable(table string) ([]fileSystem, error) {
	// Spaces and tabs are written in octal, see getmntent(3).
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var list []fileSystem
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) < 4 {
			return nil, errors.New(tableFile + ": incomplete: " + strings.TrimSpace(line))
		}
		fs := fileSystem{
			device: unescape.Replace(fields[0]),
			target: sysroot + unescape.Replace(fields[1]),
			fstype: fields[2],
		}
		fs.options(unescape.Replace(fields[3]))
		if fs.flags&unix.MS_BIND != 0 {
			fs.device = sysroot + fs.device
		}
		list = append(list, fs)
	}
	return list, nil
}

func (fs *fileSystem) options(options string) {
	var data []string
	for option := range strings.SplitSeq(options, ",") {
		flag, known := mountFlags[option]
		name, value, _ := strings.Cut(option, "=")
		switch {
		case known:
			fs.flags |= flag
		case strings.HasPrefix(option, "x-"): // for programs, see mount(8)
		default:
			data = append(data, option)
		}
		if name == "upperdir" || name == "workdir" {
			fs.dirs = append(fs.dirs, value)
		}
	}
	fs.data = strings.Join(data, ",")
}

func (fs *fileSystem) mount() error {
	for _, dir := range fs.dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if strings.HasPrefix(fs.device, "/dev/") {
		if err := errors.Join(waitForDevice(fs.device), readAhead(fs.device)); err != nil {
			return err
		}
	}
	err := mount(fs.device, fs.target, fs.fstype, fs.flags, fs.data)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) { // a read-only device; mount(8) does the same
		err = mount(fs.device, fs.target, fs.fstype, fs.flags|unix.MS_RDONLY, fs.data)
	}
	return err
}
