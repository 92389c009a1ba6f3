// claude-vm-generator is a user generator, systemd.generator(7): it turns .vm
// files into drop-ins and links of claude-vm's units.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

// version is set by the linker.
var version = "devel"

const help = `usage: claude-vm-generator [--root=PATH] DIRECTORY [EARLY LATE]
       claude-vm-generator [--root=PATH] --dry-run
       claude-vm-generator --check FILE...

Turn .vm files into drop-ins and links of claude-vm's units. systemd's user
manager calls it with the directories, of which only the first is written to.

  --dry-run    print what would be written
  --root=PATH  read the files below PATH, which is / of another machine; HOME=
               and USER= say whose
  --check      check files and their drop-ins only; the exit status is 1 if one
               is wrong
  --version    print the version

  claude-vm-generator --check ~/.config/claude-vm/web.vm

man claude-vm-generator, man claude-vm.vm
`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout io.Writer, stderr *os.File) int {
	report := reporter{stderr: stderr, journal: isJournal(stderr)}
	flags := flag.NewFlagSet("claude-vm-generator", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dryRun := flags.Bool("dry-run", false, "")
	check := flags.Bool("check", false, "")
	var root vmfile.Root
	flags.Func("root", "", func(path string) error {
		if path == "" { // a shell's unset variable, perhaps: not this machine
			return errors.New("it is empty")
		}
		root = vmfile.Root(path)
		return nil
	})
	showVersion := flags.Bool("version", false, "")
	err := flags.Parse(args)
	args = flags.Args()
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help)
		return 0
	case err != nil:
		return report.usage(err.Error())
	case *showVersion:
		fmt.Fprintln(stdout, version)
		return 0
	case *check && *dryRun:
		return report.usage("--check and --dry-run exclude each other")
	case *check && root != "":
		return report.usage("--check and --root exclude each other")
	case *check && len(args) == 0:
		return report.usage("--check needs a file")
	case *dryRun && len(args) > 0:
		return report.usage("--dry-run takes no directory")
	case !*check && !*dryRun && (len(args) == 0 || len(args) > 3):
		return report.usage(fmt.Sprintf("one to three directories, not %d", len(args)))
	case !*check && slices.ContainsFunc(args, func(dir string) bool { return dir == "" || dir[0] == '-' }):
		return report.usage("options come first, and no directory is without a name")
	case *check:
		return checkFiles(args, report)
	case *dryRun:
		return show(root, stdout, report)
	}
	// Without a home the files are not found, and no VM may start as if there were none.
	err = dropin.Replace(args[0], func() (dropin.Tree, error) {
		return generate(root, report)
	})
	if err != nil {
		return report.failure(err)
	}
	return 0
}

func checkFiles(files []string, report reporter) int {
	paths, err := instance.HostPaths()
	if err != nil {
		return report.failure(err)
	}
	return report.files(vmfile.Check(files, paths))
}

// show prints the tree.
func show(root vmfile.Root, stdout io.Writer, report reporter) int {
	tree, err := generate(root, report)
	if err == nil {
		err = tree.Print(stdout)
	}
	if err != nil {
		return report.failure(err)
	}
	return 0
}

// generate makes the tree; what is wrong with the files is told on the way.
func generate(root vmfile.Root, report reporter) (dropin.Tree, error) {
	paths, err := root.Paths()
	if err != nil {
		return nil, err
	}
	set := root.Load(vmfile.SearchPath(paths), paths)
	tree, errs := dropin.Build(set, paths)
	report.files(append(set.Errors, errs...))
	return tree, nil
}

// reporter tells what is wrong on standard error. The user manager's generators
// have its own, which is the journal; a user cannot write to /dev/kmsg.
type reporter struct {
	stderr  *os.File
	journal bool
}

// isJournal says whether f is the stream to the journal that systemd has opened.
func isJournal(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// line writes one with a syslog priority, for the journal, or a label, for people.
func (r reporter) line(priority int, label, text string) {
	if r.journal {
		fmt.Fprintf(r.stderr, "<%d>%s\n", priority, text)
		return
	}
	fmt.Fprintf(r.stderr, "%s%s\n", label, text)
}

const (
	priorityError  = 3
	priorityNotice = 5
)

// files tells the faults of files and gives the exit status.
func (r reporter) files(errs []*failure.Error) int {
	for _, e := range errs {
		r.line(priorityError, "", e.Error())
		if e.Hint != "" {
			r.line(priorityNotice, "\t", "hint: "+e.Hint)
		}
	}
	return min(len(errs), 1)
}

func (r reporter) usage(text string) int {
	r.line(priorityError, "claude-vm-generator: error: ", text)
	r.line(priorityNotice, "claude-vm-generator: ", "hint: claude-vm-generator --help")
	return 2
}

func (r reporter) failure(err error) int {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	r.line(priorityError, "claude-vm-generator: error: ", err.Error())
	if hint := failure.HintOf(err); hint != "" {
		r.line(priorityNotice, "claude-vm-generator: ", "hint: "+hint)
	}
	return 1
}
