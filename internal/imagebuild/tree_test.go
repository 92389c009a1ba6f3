package imagebuild

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/test/ocilayout"
)

// file, dir, link and hard are entries of a layer.
func file(name, text string) ocilayout.File {
	return ocilayout.File{Header: tar.Header{Name: name, Mode: 0o644}, Text: text}
}

func dir(name string) ocilayout.File { return ocilayout.File{Header: tar.Header{Name: name + "/"}} }

func link(name, target string) ocilayout.File {
	return ocilayout.File{Header: tar.Header{Name: name, Linkname: target}}
}

func hard(name, target string) ocilayout.File {
	return ocilayout.File{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

// merge returns the merged layers, a line for each file that is not a directory without content.
func merge(t *testing.T, layers ...[]ocilayout.File) (string, error) {
	t.Helper()
	var archives [][]byte
	tree := newTree()
	for i, files := range layers {
		layer, err := ocilayout.Layer(files...)
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, layer)
		if err := tree.add(i, bytes.NewReader(layer)); err != nil {
			return "", err
		}
	}
	tree.size() // changes nothing
	var out bytes.Buffer
	err := tree.write(&out, len(archives), func(layer int) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archives[layer])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list(t, &out), nil
}

func list(t *testing.T, r io.Reader) string {
	t.Helper()
	var lines strings.Builder
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return lines.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%c %o %s", h.Typeflag, h.Mode, h.Name)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if len(text) > 0 {
			line += " " + string(text)
		}
		if h.Typeflag != tar.TypeDir {
			fmt.Fprintln(&lines, strings.TrimSpace(line))
		} else if h.Mode != 0o755 {
			fmt.Fprintln(&lines, line)
		}
	}
}

func TestMerge(t *testing.T) {
	type layer = []ocilayout.File
	for name, test := range map[string]struct {
		layers []layer
		want   string
	}{
		"a file is replaced": {[]layer{{file("a", "1"), file("b", "1")}, {file("./a", "2")}}, "0 644 b 1\n0 644 a 2\n"},
		"a whiteout":         {[]layer{{file("d/a", "1"), file("d/b", "1")}, {file("d/.wh.a", "")}}, "0 644 d/b 1\n"},
		"a whiteout of a directory, which the layer has again": {
			[]layer{{file("d/a", "1")}, {file("d/b", "2"), file(".wh.d", "")}}, "0 644 d/b 2\n"},
		"an opaque directory, after its files": {
			[]layer{{file("d/a", "1"), file("d/s/c", "1")}, {file("d/b", "2"), file("d/.wh..wh..opq", "")}}, "0 644 d/b 2\n"},
		"a whiteout of what does not exist, and metadata of aufs": {
			[]layer{{file("a", "1")}, {file("x/.wh.y", ""), file(".wh..wh.plnk/1", "x"), file(".wh..wh.aufs", "")}}, "0 644 a 1\n"},
		"a whiteout through a link": {
			[]layer{{file("usr/lib/a", "1"), link("lib", "usr/lib")}, {file("lib/.wh.a", ""), file("lib/b", "2")}}, "2 755 lib -> usr/lib\n0 644 usr/lib/b 2\n"},
		"an absolute link stays in the image": {
			[]layer{{link("lib", "/usr/../../usr/lib")}, {file("lib/a", "2")}}, "2 755 lib -> /usr/../../usr/lib\n0 644 usr/lib/a 2\n"},
		"a directory replaces a link and a file": {
			[]layer{{file("x/a", "1"), link("l", "x"), file("f", "1")}, {dir("l"), file("l/b", "2"), dir("f"), file("f/c", "2")}}, "0 644 x/a 1\n0 644 l/b 2\n0 644 f/c 2\n"},
		"a file replaces a directory": {[]layer{{file("d/a", "1")}, {file("d", "2")}}, "0 644 d 2\n"},
		"the mode of a directory, which keeps its files": {
			[]layer{{file("d/a", "1")}, {{Header: tar.Header{Name: "d/", Mode: 0o1777}}}}, "5 1777 d/\n0 644 d/a 1\n"},
		"hard links": {[]layer{{file("a", "1"), hard("c", "a"), hard("b", "./c")}}, "0 644 a 1\n1 644 b -> a\n1 644 c -> a\n"},
		"a hard link keeps the content of a file that is replaced": {
			[]layer{{file("a", "1"), hard("b", "a")}, {file("a", "2")}}, "0 644 b 1\n0 644 a 2\n"},
		"a hard link to a file of a lower layer": {
			[]layer{{file("a", "1")}, {hard("b", "a")}, {file(".wh.a", "")}}, "0 644 b 1\n"},
		"no device nodes": {
			[]layer{{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/null"}}, {Header: tar.Header{Typeflag: tar.TypeBlock, Name: "sda"}}, file("a", "1")}}, "0 644 a 1\n"},
		"setuid, and a named pipe": {
			[]layer{{{Header: tar.Header{Name: "su", Mode: 0o4755}, Text: "x"}, {Header: tar.Header{Typeflag: tar.TypeFifo, Name: "p"}}}}, "6 755 p\n0 4755 su x\n"},
		"odd names": {
			[]layer{{file("a b", "1"), file("new\nline", "2"), file("latin1-\xe4", "3"), file("-rf", "4"), file(strings.Repeat("long/", 60)+"é", "5")}},
			"0 644 a b 1\n0 644 new\nline 2\n0 644 latin1-\xe4 3\n0 644 -rf 4\n0 644 " + strings.Repeat("long/", 60) + "é 5\n"},
		"absolute names are relative": {[]layer{{file("/etc/passwd", "1"), dir("/")}}, "0 644 etc/passwd 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := merge(t, test.layers...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("merge mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeInvalid(t *testing.T) {
	for want, files := range map[string][]ocilayout.File{
		`"../etc/passwd": a name with .. may be outside of the image`:          {file("../etc/passwd", "1")},
		`"a/../../b": a name with .. may be outside of the image`:              {file("a/../../b", "1")},
		`"b": "../a": a name with .. may be outside of the image`:              {hard("b", "../a")},
		`"b": hard link to "a", which does not exist`:                          {hard("b", "a")},
		`"b": hard link to "a", which is a directory`:                          {dir("a"), hard("b", "a")},
		`"a/b": too many symbolic links`:                                       {link("a", "c"), link("c", "a"), file("a/b", "1")},
		`"a": invalid owner -1:0`:                                              {{Header: tar.Header{Name: "a", Uid: -1, Format: tar.FormatGNU}}},
		fmt.Sprintf("%q…: longer than 255 bytes", strings.Repeat("n", 40)):     {file(strings.Repeat("n", 256), "1")},
		fmt.Sprintf("%q…: longer than 4095 bytes", strings.Repeat("dir/", 10)): {file(strings.Repeat("dir/", 1024)+"a", "1")},
	} {
		_, err := merge(t, files)
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := newTree().add(0, strings.NewReader(strings.Repeat("no archive ", 100))); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("text instead of an archive: %v", err)
	}
}

// TestMergeAttributes checks which extended attributes are kept, also binary ones.
func TestMergeAttributes(t *testing.T) {
	const prefix = "SCHILY.xattr."
	kept := map[string]string{prefix + "security.capability": "\x01\x00\x00\x02\x00\xff\n=", prefix + "user.a": "b"}
	records := map[string]string{prefix + "security.selinux": "x", prefix + "trusted.overlay.opaque": "y", prefix + "user.overlay.redirect": "z", "LIBARCHIVE.x": "1"}
	for key, value := range kept {
		records[key] = value
	}
	layer, err := ocilayout.Layer(ocilayout.File{Header: tar.Header{Name: "ping", PAXRecords: records, Format: tar.FormatPAX}, Text: "x"})
	if err != nil {
		t.Fatal(err)
	}
	tree := newTree()
	if err := tree.add(0, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	open := func(int) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }
	if err := tree.write(&out, 1, open); err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(&out)
	archive.Next() // the root directory
	h, err := archive.Next()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kept, h.PAXRecords); diff != "" {
		t.Errorf("attributes mismatch (-want +got):\n%s", diff)
	}
}

// TestMergeSize checks archives whose headers promise more than there is room for. Contents are not
// read into memory.
func TestMergeSize(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "huge", Size: 1 << 40})
	tree := newTree()
	// The content is missing.
	if err := tree.add(0, &b); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("an archive that ends early: %v", err)
	}
	tree.root.children["huge"] = &node{header: tar.Header{Typeflag: tar.TypeReg, Size: 1 << 50}}
	err := checkRoom(t.TempDir(), tree.size())
	if err == nil || !strings.HasPrefix(err.Error(), "not enough room in ") {
		t.Errorf("an image of a petabyte: %v", err)
	}
}

// TestHugeSize has sparse files, which need no room in the layer, and whose sizes overflow.
func TestHugeSize(t *testing.T) {
	for _, files := range []int{1, 2, 4} {
		tree := newTree()
		for i := range files {
			tree.root.children[fmt.Sprint(i)] = &node{header: tar.Header{Typeflag: tar.TypeReg, Size: 1 << 62}}
		}
		if err := checkRoom(t.TempDir(), tree.size()); err == nil {
			t.Errorf("there is room for %d files of 4 EiB", files)
		}
	}
}

// TestMergeMemory checks that small archives cannot make a tree take much memory.
func TestMergeMemory(t *testing.T) {
	deep := strings.Repeat("a/", 2000)
	for name, c := range map[string]struct {
		header func(i int) tar.Header
		want   string
	}{
		"directories": {func(i int) tar.Header { return tar.Header{Name: fmt.Sprintf("%d/%sx", i, deep)} }, "the names and attributes of its files need more than 2 GiB"},
		"attributes": {func(i int) tar.Header {
			return tar.Header{Name: fmt.Sprint(i), PAXRecords: map[string]string{"SCHILY.xattr.user.x": strings.Repeat("x", 1<<19)}}
		}, "the names and attributes of its files need more than 2 GiB"},
		"links": {func(i int) tar.Header {
			if i == 0 {
				return tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: deep}
			}
			return tar.Header{Name: strings.Repeat("l/", i) + "x"}
		}, `a path is longer than 4095 bytes`},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range 100 {
			h := c.header(i)
			h.Format = tar.FormatPAX
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		tree := newTree()
		tree.used = maxMemory - 16<<20
		if err := tree.add(0, &b); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func FuzzMerge(f *testing.F) {
	layer, err := ocilayout.Layer(file("usr/a", "1"), link("lib", "usr"), file("lib/.wh.a", ""), hard("b", "usr/a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(layer, layer)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		tree := newTree()
		if tree.add(0, bytes.NewReader(one)) != nil || tree.add(1, bytes.NewReader(two)) != nil {
			return
		}
		if tree.size() > 1<<20 { // a sparse file; checkRoom
			return
		}
		layers := [][]byte{one, two}
		err := tree.write(io.Discard, 2, func(i int) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layers[i])), nil })
		if err != nil {
			t.Error(err)
		}
	})
}
