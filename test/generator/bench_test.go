//go:build bench

// Package generator compares the cost of claude-vm-generator with two programs in the
// same root directory: Podman's Quadlet, with the same number of .container files of
// similar size, and floor, which only makes the necessary system calls, in C and in Go.
package generator

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// repetitions is odd, so that the median is one of the values, and large enough for the
// mean of user times.
const repetitions = 31

const vmFile = `[VM]
WorkDirectory=/srv/project%04[1]d
Memory=2G
CPUs=2

[Claude]
SkipPermissions=yes

[Network]
PublishPort=127.0.0.1:%[2]d:8080

[Service]
MemoryMax=3G

[Install]
WantedBy=default.target
`

const containerFile = `[Unit]
Description=Project %04[1]d

[Container]
Image=localhost/image
PublishPort=127.0.0.1:%[2]d:8080
Volume=/srv/project%04[1]d:/work
Exec=claude

[Service]
MemoryMax=3G

[Install]
WantedBy=default.target
`

// program is a generator. variable is the environment variable for the directory with its
// input. Each pattern in made matches one output file per unit.
type program struct {
	name     string
	command  []string
	variable string
	suffix   string
	text     string
	made     []string
}

var ours = program{
	name:     "claude-vm-generator",
	command:  []string{"/run/build/claude-vm-generator"},
	variable: "CLAUDE_VM_UNIT_DIRS",
	suffix:   ".vm",
	text:     vmFile,
	made: []string{
		"claude-vm@srv-project*.service.d/*.conf", "claude-vm-setup@srv-project*.service.d/*.conf", "claude-vm-virtiofsd@srv-project*.service.d/*.conf",
		"default.target.wants/claude-vm@srv-project*.service",
	},
}

var quadlet = program{
	name:     "quadlet",
	command:  []string{"/usr/libexec/podman/quadlet", "--user", "-no-kmsg-log"},
	variable: "QUADLET_UNIT_DIRS",
	suffix:   ".container",
	text:     containerFile,
	made:     []string{"project*.service", "default.target.wants/project*.service"},
}

// floor and goFloor write files of the same names as ours.
var floor, goFloor = newFloor("floor"), newFloor("floor-go")

func newFloor(name string) program {
	return program{name: name, command: []string{"/run/" + name}, variable: ours.variable, suffix: ours.suffix, text: ours.text, made: ours.made}
}

// measures are the measured values of a program. Linux divides CPU time into user and
// system time by sampling at each timer tick, every few milliseconds. So the user time of
// a single run is imprecise, and the mean of many runs is used.
var measures = [...]struct {
	name    string
	average func(values []float64) float64
}{
	wall:   {"wall time, ms", median},
	user:   {"user time, ms", mean},
	cpu:    {"CPU time, ms", median},
	memory: {"peak memory, MiB", median},
}

const (
	wall = iota
	user
	cpu // user and system
	memory
)

type cost [len(measures)]float64

// TestAgainstQuadlet prints a table of the costs.
func TestAgainstQuadlet(t *testing.T) {
	h := newHost(t)
	version, err := h.command(append(quadlet.command, "-version")).Output()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("medians of %d runs, and means for user time; Quadlet is %s\n", repetitions, strings.TrimSpace(string(version)))
	fmt.Println("goals for 1000 files: wall time ours/floor at most 1.3, user time ours/Quadlet at most 0.2")
	fmt.Println("the floor in Go shows what a Go program cannot save")
	fmt.Printf("%5s  %-16s %8s %8s %8s %8s  %10s %12s  %9s %11s\n", "files", "", "ours", "floor", "in Go", "Quadlet", "ours/floor", "ours/Quadlet", "Go/floor", "Go/Quadlet")
	for _, n := range []int{1, 10, 100, 1000} {
		costs := h.compare(n, ours, floor, goFloor, quadlet)
		for k, m := range measures {
			a, f, g, q := costs[0][k], costs[1][k], costs[2][k], costs[3][k]
			fmt.Printf("%5d  %-16s %8.2f %8.2f %8.2f %8.2f  %10.2f %12.2f  %9.2f %11.2f\n", n, m.name, a, f, g, q, a/f, a/q, g/f, g/q)
		}
	}
}

func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

func mean(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// host is a root directory with Quadlet, in a mount namespace of the test's thread.
type host struct {
	t    *testing.T
	root string
}

func newHost(t *testing.T) *host {
	t.Helper()
	out, err := (&exec.Cmd{Path: "../../scripts/quadlet-root", Stderr: os.Stderr}).Output()
	if err != nil {
		t.Fatalf("scripts/quadlet-root: %v", err)
	}
	h := &host{t: t, root: strings.TrimSpace(string(out))}
	// Never unlocked, so that the Go runtime ends the thread, and with it the mount
	// namespace, when the test ends.
	runtime.LockOSThread()
	h.check(unix.Unshare(unix.CLONE_NEWNS))
	h.check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	h.check(unix.Mount("tmpfs", h.path("run"), "tmpfs", 0, "mode=755"))
	// The Go runtime reads both when a program starts.
	for _, dir := range []string{"/proc", "/sys"} {
		h.check(unix.Mount(dir, h.path(dir), "", unix.MS_BIND|unix.MS_REC, ""))
	}
	h.check(os.Mkdir(h.path("run/build"), 0o755))
	h.check(unix.Mount("../../build", h.path("run/build"), "", unix.MS_BIND, ""))
	// For memory, which waits for a grandchild.
	h.check(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	gcc := exec.Command("gcc", "-O2", "-static", "-pthread", "-o", h.path(floor.command[0]), "testdata/floor.c")
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("testdata/floor.c needs gcc and libc6-dev: %v\n%s", err, out)
	}
	build := exec.Command("go", "build", "-trimpath", "-o", h.path(goFloor.command[0]), "./testdata/floor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return h
}

func (h *host) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// path returns the path outside of the root for a path in it.
func (h *host) path(name string) string { return filepath.Join(h.root, name) }

// compare runs the programs alternately on n files, and returns their costs.
func (h *host) compare(n int, programs ...program) []cost {
	values := make([][len(measures)][]float64, len(programs))
	for i := range 1 + repetitions {
		for j := range programs {
			j = (i + j) % len(programs) // a different program is first each time
			c := h.measure(programs[j], n)
			if i == 0 {
				continue // the first run only fills the page cache
			}
			for k := range c {
				values[j][k] = append(values[j][k], c[k])
			}
		}
	}
	costs := make([]cost, len(programs))
	for j := range costs {
		for k, m := range measures {
			costs[j][k] = m.average(values[j][k])
		}
	}
	return costs
}

// measure runs p on n files, once for the times and once for the memory.
func (h *host) measure(p program, n int) cost {
	h.t.Helper()
	in := "/run/in" + p.suffix
	h.check(os.Mkdir(h.path(in), 0o755))
	for i := range n {
		name := fmt.Sprintf("project%04d%s", i, p.suffix)
		h.check(os.WriteFile(h.path(filepath.Join(in, name)), fmt.Appendf(nil, p.text, i, 10000+i), 0o644))
	}
	defer os.RemoveAll(h.path(in))
	environment := []string{p.variable + "=" + in, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "XDG_RUNTIME_DIR=/run"}

	var c cost
	h.generate(p, n, func(args []string, output *os.File) error {
		cmd := h.command(args)
		cmd.Env, cmd.Stdout, cmd.Stderr = environment, output, output
		start := time.Now()
		err := cmd.Run()
		c[wall] = time.Since(start).Seconds() * 1e3
		if state := cmd.ProcessState; state != nil {
			c[user] = state.UserTime().Seconds() * 1e3
			c[cpu] = c[user] + state.SystemTime().Seconds()*1e3
		}
		return err
	})
	h.generate(p, n, func(args []string, output *os.File) (err error) {
		c[memory], err = h.memory(args, environment, output)
		return err
	})
	return c
}

func (h *host) command(args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: h.root}
	cmd.Dir = "/"
	return cmd
}

// memory runs a command and returns its peak memory in MiB. Linux includes the memory of
// the process before exec, which would be the memory of this test. So a shell starts the
// command in the background and exits, and this process, as the subreaper, waits for the
// command. The command blocks until the shell has exited, so that the shell cannot reap it.
func (h *host) memory(args, environment []string, output *os.File) (float64, error) {
	h.t.Helper()
	wait, end, err := os.Pipe()
	h.check(err)
	script := `{ read -r _ <&3; exec "$@" 3<&-; } >&2 & echo $!`
	cmd := h.command(append([]string{"/usr/bin/dash", "-c", script, "sh"}, args...))
	cmd.Env, cmd.Stderr, cmd.ExtraFiles = environment, output, []*os.File{wait}
	text, err := cmd.Output()
	h.check(err)
	h.check(errors.Join(wait.Close(), end.Close()))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	h.check(err)
	var status unix.WaitStatus
	var usage unix.Rusage
	_, err = unix.Wait4(pid, &status, 0, &usage)
	h.check(err)
	if status != 0 {
		return 0, fmt.Errorf("wait status %#x", status)
	}
	return float64(usage.Maxrss) / 1024, nil
}

// generate calls run with new output directories, and checks that it wrote n units to the
// first one and printed nothing.
func (h *host) generate(p program, n int, run func(args []string, output *os.File) error) {
	h.t.Helper()
	args := slices.Clone(p.command)
	for _, dir := range []string{"/run/normal", "/run/early", "/run/late"} {
		h.check(os.Mkdir(h.path(dir), 0o755))
		defer os.RemoveAll(h.path(dir))
		args = append(args, dir)
	}
	output, err := os.Create(h.path("/run/output"))
	h.check(err)
	defer output.Close()
	runErr := run(args, output)
	printed, err := os.ReadFile(output.Name())
	h.check(err)
	if runErr != nil || len(printed) > 0 {
		h.t.Fatalf("%s: %v\n%s", p.name, runErr, printed)
	}
	for _, pattern := range p.made {
		made, err := filepath.Glob(h.path("/run/normal/" + pattern))
		h.check(err)
		if len(made) != n {
			h.t.Fatalf("%s: wrote %d of %d %s", p.name, len(made), n, pattern)
		}
	}
}
