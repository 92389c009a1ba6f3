// claude-vm-generator is a user generator, see systemd.generator(7). It converts .vm
// files to drop-ins and symbolic links for claude-vm's units.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
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

Convert .vm files to drop-ins and symbolic links for claude-vm's units. systemd's
user manager calls it with three directories; it writes to the first one only.

  --dry-run    print the files and links instead of writing them
  --root=PATH  read the files below PATH, the root directory of another machine;
               HOME= and USER= select the user
  --check      only check files and their drop-ins; the exit status is 1 if there
               is an error
  --version    print the version

  claude-vm-generator --check ~/.config/claude-vm/web.vm

man claude-vm-generator, man claude-vm.vm
`

func main() {
	// The garbage collector would cost 14 % of wall time with 1000 files. The limit is far
	// above their 15 MB.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(100 << 20)
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
		if path == "" { // probably an unset variable of a shell; it must not mean this machine
			return errors.New("the path is empty")
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
		return report.usage("--check and --dry-run cannot be used together")
	case *check && root != "":
		return report.usage("--check and --root cannot be used together")
	case *check && len(args) == 0:
		return report.usage("--check needs a file")
	case *dryRun && len(args) > 0:
		return report.usage("--dry-run takes no directory")
	case !*check && !*dryRun && (len(args) == 0 || len(args) > 3):
		return report.usage(fmt.Sprintf("expected one to three directories, got %d", len(args)))
	case !*check && slices.ContainsFunc(args, func(dir string) bool { return dir == "" || dir[0] == '-' }):
		return report.usage("options must come before directories, and a directory must not be empty")
	case *check:
		return checkFiles(args, report)
	case *dryRun:
		return printTree(root, stdout, report)
	}
	// generate runs under the guard of Replace: if it fails, for example because there is
	// no home directory to read from, no VM can start without its settings.
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

// printTree prints the tree.
func printTree(root vmfile.Root, stdout io.Writer, report reporter) int {
	tree, err := generate(root, report)
	if err == nil {
		err = tree.Print(stdout)
	}
	if err != nil {
		return report.failure(err)
	}
	return 0
}

// generate reads the files, reports their errors and returns the tree.
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

// reporter prints errors to standard error. Generators inherit it from the user manager,
// whose standard error is the journal. /dev/kmsg is not writable for a user.
type reporter struct {
	stderr  *os.File
	journal bool
}

// isJournal reports whether f is connected to the journal, see $JOURNAL_STREAM in
// systemd.exec(5).
func isJournal(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// line prints a line. In the journal it has a syslog priority, elsewhere a label.
func (r reporter) line(priority int, label, text string) {
	if r.journal {
		fmt.Fprintf(r.stderr, "<%d>%s\n", priority, text)
		return
	}
	fmt.Fprintf(r.stderr, "%s%s\n", label, text)
}

// See syslog(3) and sd-daemon(3).
const (
	priorityError  = 3
	priorityNotice = 5
)

// files prints the errors of files and returns the exit status.
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
