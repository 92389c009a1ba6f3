package vmfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/sys/unix"
)

// Names of the files.
const (
	Suffix       = ".vm"
	DefaultsFile = "defaults.conf"
	commonDir    = "vm.d" // drop-ins of all .vm files
)

// Set is what all files say. A VM that they describe wrongly has a Refusal, and
// is left out if not even its work directory is known.
type Set struct {
	Defaults vm.VM
	VMs      []vm.VM
	Errors   []*unitfile.Error
}

// SearchPath lists the directories, the most important first.
// $CLAUDE_VM_UNIT_DIRS, for tests, replaces them.
func SearchPath(s Specifiers) []string {
	if dirs := os.Getenv("CLAUDE_VM_UNIT_DIRS"); dirs != "" {
		return strings.Split(dirs, ":")
	}
	return []string{s['t'] + "/claude-vm", s['E'] + "/claude-vm", "/etc/claude-vm/user", "/usr/share/claude-vm/user"}
}

// Load reads all files.
func Load(dirs []string, s Specifiers) Set { return LoadWith(dirs, s, "", nil) }

// LoadWith is Load as it would be if a file had this text.
func LoadWith(dirs []string, s Specifiers, file string, text []byte) Set {
	l := loader{specifiers: s, dirs: map[string][]string{}, file: file, text: text}
	names := l.scan(dirs)
	var set Set
	set.Defaults = vm.Default()
	if file, ok := l.first[DefaultsFile]; ok {
		l.read(&set.Defaults, file, "", true)
		if refused := set.Defaults; refused.Refusal != "" {
			set.Defaults = vm.Default()
			set.Defaults.Source, set.Defaults.Refusal = refused.Source, refused.Refusal
		}
	}
	for _, name := range names {
		v := set.Defaults.Clone()
		v.Name, v.Source, v.Refusal, v.Unit, v.Service = strings.TrimSuffix(name, Suffix), nil, "", nil, nil
		if l.read(&v, l.first[name], commonDir, false) {
			set.VMs = append(set.VMs, v)
		}
	}
	l.refuseTwins(set.VMs)
	set.Errors = l.errs
	return set
}

// Find gives the file of this name that counts; empty if there is none.
func Find(dirs []string, name string) string {
	l := loader{dirs: map[string][]string{}}
	l.scan(dirs)
	return l.first[name]
}

// loader collects faults on its way through the files.
type loader struct {
	specifiers Specifiers
	first      map[string]string   // the file of a name that counts
	dirs       map[string][]string // the directories of drop-ins of a name
	errs       []*unitfile.Error
	told       map[unitfile.Error]bool
	places     map[string]unitfile.Error // of each VM's WorkDirectory=, by file
	file       string                    // one that has text, whatever it has on the disk
	text       []byte
}

// fail tells a fault, once: drop-ins for all VMs are read for each.
func (l *loader) fail(e *unitfile.Error) {
	if l.told[*e] {
		return
	}
	if l.told == nil {
		l.told = map[unitfile.Error]bool{}
	}
	l.told[*e] = true
	l.errs = append(l.errs, e)
}

// scan finds the .vm files, sorted, and fills first and dirs.
func (l *loader) scan(dirs []string) []string {
	l.first, l.places = map[string]string{}, map[string]unitfile.Error{}
	var names []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.fail(unreadable(dir, err))
			continue
		}
		var files []string
		for _, e := range entries {
			files = append(files, e.Name())
		}
		if path.Dir(l.file) == dir && !slices.Contains(files, path.Base(l.file)) {
			files = append(files, path.Base(l.file))
		}
		for _, name := range files {
			full := path.Join(dir, name)
			if err := checkName(full); err != nil {
				l.fail(err)
				continue
			}
			isVM := strings.HasSuffix(name, Suffix) && name[0] != '.'
			switch {
			case strings.HasSuffix(name, ".d"):
				l.dirs[name] = append(l.dirs[name], full)
			case (isVM || name == DefaultsFile) && l.first[name] == "":
				l.first[name] = full
				if isVM {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// checkName refuses what cannot be written into a unit.
func checkName(full string) *unitfile.Error {
	if utf8.ValidString(full) && strings.IndexFunc(full, unicode.IsControl) < 0 {
		return nil
	}
	return &unitfile.Error{File: strconv.Quote(full), Message: "a file's name that is no text"}
}

// dropins lists a file's drop-ins in the order in which they apply: by name,
// whatever directory they are in. Of equal names the one for this file alone
// counts, and then that of the more important directory. What cannot be read might
// restrict the VM: it is a fault of the file.
func (l *loader) dropins(name, common string) ([]string, []*unitfile.Error) {
	var errs []*unitfile.Error
	byName := map[string]string{}
	for _, dir := range slices.Concat(l.dirs[name+".d"], l.dirs[common]) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			errs = append(errs, unreadable(dir, err))
			continue
		}
		for _, e := range entries {
			n := e.Name()
			if !strings.HasSuffix(n, ".conf") || n[0] == '.' || byName[n] != "" {
				continue
			}
			if err := checkName(path.Join(dir, n)); err != nil {
				errs = append(errs, err)
				continue
			}
			byName[n] = path.Join(dir, n)
		}
	}
	var files []string
	for _, n := range slices.Sorted(maps.Keys(byName)) {
		files = append(files, byName[n])
	}
	return files, errs
}

// read makes v what a file and its drop-ins say. It returns false for a file
// that is masked, or so wrong that nobody knows whose VM it would be.
func (l *loader) read(v *vm.VM, file, common string, defaults bool) bool {
	r := &reading{vm: v, defaults: defaults, specifiers: l.specifiers, where: map[string]unitfile.Error{}}
	dropins, errs := l.dropins(path.Base(file), common)
	for i, name := range append([]string{file}, dropins...) {
		text, err := l.text, error(nil)
		if name != l.file {
			text, err = readFile(name)
		}
		if err == nil && len(text) == 0 { // masked, as in systemd
			if i == 0 {
				return false
			}
			continue
		}
		v.Source = append(v.Source, name)
		if err != nil {
			errs = append(errs, unreadable(name, err))
			continue
		}
		parsed, faults := unitfile.Parse(name, text)
		errs = append(append(errs, faults...), r.apply(parsed)...)
	}
	if len(errs) == 0 {
		errs = append(errs, r.finish(file)...)
	}
	for _, e := range errs {
		l.fail(e)
	}
	l.places[file] = r.where["WorkDirectory"]
	if len(errs) > 0 {
		v.Refusal = errs[0].Error()
	}
	return v.WorkDirectory != "" || defaults
}

// finish checks the whole.
func (r *reading) finish(file string) []*unitfile.Error {
	if r.vm.WorkDirectory == "" && !r.defaults {
		return []*unitfile.Error{{
			File: file, Message: "WorkDirectory= is missing",
			Hint: "name the project's directory in the section [VM]",
		}}
	}
	key, err := r.vm.Validate()
	if err == nil && !r.defaults {
		key, err = "WorkDirectory", r.specifiers.Instances().Check(r.vm.WorkDirectory)
	}
	if err != nil {
		at := r.where[key]
		if at.File == "" { // what is wrong comes from elsewhere
			at.File = file
		}
		return []*unitfile.Error{{File: at.File, Line: at.Line, Message: err.Error()}}
	}
	return nil
}

// refuseTwins refuses VMs that want the same directory.
func (l *loader) refuseTwins(vms []vm.VM) {
	owner := map[string]int{}
	for i, v := range vms {
		j, taken := owner[v.WorkDirectory]
		if !taken {
			owner[v.WorkDirectory] = i
			continue
		}
		first, second := l.places[vms[j].Source[0]], l.places[v.Source[0]]
		second.Message = fmt.Sprintf("WorkDirectory=%s is also that of %s:%d", v.WorkDirectory, first.File, first.Line)
		second.Hint = "a directory has one VM: remove one of the files"
		l.fail(&second)
		vms[i].Refusal, vms[j].Refusal = second.Error(), second.Error()
	}
}

// readFile reads a file that must be a regular one: a pipe would be waited for.
// A link to /dev/null reads as empty.
func readFile(name string) ([]byte, error) {
	if target, err := filepath.EvalSymlinks(name); err == nil && target == os.DevNull {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	return io.ReadAll(io.LimitReader(f, unitfile.MaxSize+1))
}

func unreadable(name string, err error) *unitfile.Error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &unitfile.Error{File: name, Message: err.Error()}
}

// Check reads single files, each with the drop-ins beside it, and gives their
// faults. A .conf file may be defaults.conf or a drop-in.
func Check(files []string, s Specifiers) []*unitfile.Error {
	l := loader{specifiers: s, places: map[string]unitfile.Error{}}
	var vms []vm.VM
	for _, file := range files {
		name := path.Base(file)
		v := vm.Default()
		if strings.HasSuffix(name, Suffix) {
			v.Name = strings.TrimSuffix(name, Suffix)
		}
		l.dirs = map[string][]string{}
		if info, err := os.Stat(file + ".d"); err == nil && info.IsDir() {
			l.dirs[name+".d"] = []string{file + ".d"}
		}
		if l.read(&v, file, "", !strings.HasSuffix(name, Suffix)) && v.WorkDirectory != "" {
			vms = append(vms, v)
		}
	}
	l.refuseTwins(vms)
	return l.errs
}
