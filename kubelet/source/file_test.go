package source

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/atomicfile"
	"boot.internal/kubelet/pod"
)

func TestFileLists(t *testing.T) {
	r := newRig(t)
	r.write(r.path("b.yaml"), manifestOf("b", ""))
	r.write(r.path("a.json"), `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}}`)
	r.write(r.path(".hidden.yaml"), manifestOf("hidden", ""))
	r.write(r.path("c.yaml.bak"), manifestOf("c", ""))
	r.write(r.path("b.yaml~"), manifestOf("b2", ""))
	r.write(r.path("README"), "about")
	r.mkdir(r.path("sub.d"))
	r.write(filepath.Join(r.dir, "sub.d", "x.yaml"), manifestOf("x", ""))
	outside := filepath.Join(filepath.Dir(r.dir), "outside.yaml")
	r.write(outside, manifestOf("linked", ""))
	r.check(os.Symlink(outside, r.path("link.yaml")))
	r.check(os.Symlink("/does/not/exist", r.path("broken.yaml")))
	r.check(os.Symlink(filepath.Dir(r.dir), r.path("dirlink.yaml")))
	r.check(unix.Mkfifo(r.path("fifo.yaml"), 0o600))
	r.write(r.path("bad.yaml"), "apiVersion: v1\nkind: Pod\nmetadata: [")
	r.age("bad.yaml")
	r.start(time.Hour)
	s := r.next()

	r.run("SP-1 reads at once; SP-3 dot files, lexical order; SP-10 JSON; SP-13 a bad file harms no other", func(*testing.T) {
		r.want(s, "a-node1", "b-node1", "linked-node1")
		r.problem(s, "bad.yaml", Refused, "YAML")
	})
	r.run("SP-4 only manifests by name, others named", func(t *testing.T) {
		for _, name := range []string{"c.yaml.bak", "b.yaml~", "README"} {
			r.problem(s, name, Ignored, "no manifest")
		}
		if slices.ContainsFunc(s.Problems, func(p Problem) bool { return strings.Contains(p.Path, "hidden") }) {
			t.Error("a dot file, which upstream ignores too, is reported")
		}
	})
	r.run("SP-5 directories, links, FIFOs", func(*testing.T) {
		r.problem(s, "sub.d", Ignored, "directory")
		r.problem(s, "dirlink.yaml", Unreadable, "no regular file")
		r.problem(s, "broken.yaml", Unreadable, "leads nowhere")
		r.problem(s, "fifo.yaml", Unreadable, "no regular file")
	})
}

func TestFileFollowsEvents(t *testing.T) {
	r := newRig(t)
	r.start(time.Hour)
	r.want(r.next())

	r.write(r.path("a.yaml"), manifestOf("a", "1")) // SP-6 create
	first := r.next()
	r.want(first, "a-node1")

	r.write(r.path("a.yaml"), manifestOf("a", "2")) // SP-6 write
	second := r.next()
	if second.Pods[0].UID == first.Pods[0].UID {
		t.Error("SP-21 other content has the same UID")
	}

	r.run("SP-15 rename into place is one change", func(*testing.T) {
		r.check(atomicfile.Write(r.path("b.yaml"), []byte(manifestOf("b", "")), 0o600))
		second = r.next()
		r.want(second, "a-node1", "b-node1")
	})
	r.run("SP-17 renaming changes the UID", func(t *testing.T) {
		r.check(os.Rename(r.path("b.yaml"), r.path("c.yaml")))
		s := r.next()
		for len(s.Pods) != 2 { // the name may go before the other comes
			s = r.next()
		}
		r.want(s, "a-node1", "b-node1")
		if find(s, "b-node1").UID == find(second, "b-node1").UID {
			t.Error("same UID under another path")
		}
	})
	r.run("SP-6 remove", func(*testing.T) {
		r.check(os.Remove(r.path("a.yaml")))
		r.want(r.next(), "b-node1")
	})
	r.run("SP-18 another name stops the old pod at once", func(*testing.T) {
		r.write(r.path("c.yaml"), manifestOf("other", ""))
		r.want(r.next(), "other-node1")
	})
}

// Of a link nobody hears that it is done: it is read once it has settled.
func TestFileFollowsLinks(t *testing.T) { // SP-6
	r := newRig(t)
	r.settle = defaultSettle
	r.start(time.Hour)
	r.want(r.next())
	target := filepath.Join(filepath.Dir(r.dir), "t.yaml")
	r.write(target, manifestOf("t", ""))
	r.check(os.Symlink(target, r.path("t.yaml")))
	r.want(r.next(), "t-node1")
	r.check(os.Remove(r.path("t.yaml")))
	r.want(r.next())
}

func TestFileSeesNoChange(t *testing.T) {
	r := newRig(t)
	r.write(r.path("a.yaml"), manifestOf("a", "1"))
	r.start(time.Hour)
	s := r.next()

	r.run("SP-16 same bytes, touch, comments and key order do nothing", func(*testing.T) {
		r.write(r.path("a.yaml"), manifestOf("a", "1"))
		r.nothingBut(s)
		now := time.Now()
		r.check(os.Chtimes(r.path("a.yaml"), now, now))
		r.nothingBut(s)
		r.write(r.path("a.yaml"), "# a comment\nkind: Pod\n"+strings.Replace(manifestOf("a", "1"), "kind: Pod\n", "", 1))
		r.nothingBut(s)
	})
	r.run("SP-3 dot files are ignored by the watch", func(*testing.T) {
		r.write(r.path(".a.yaml.swp"), manifestOf("swap", ""))
		r.nothingBut(s)
	})
	r.run("SP-4 an editor's short-lived file is not worth a word", func(*testing.T) {
		r.write(r.path("4913"), "")
		r.check(os.Remove(r.path("4913")))
		r.nothingBut(s)
	})
}

func TestFileKeepsLastGood(t *testing.T) {
	const valid = "a-node1"
	for _, c := range []struct {
		name, content, part string
		fresh               Reason // where there is nothing to keep
	}{
		{"SP-14 not YAML", "a: [", "YAML", Refused},
		{"SP-14 no image", strings.ReplaceAll(manifestOf("a", ""), "image:", "imaeg:"), "image", Refused},
		{"SP-15 empty", "", "empty", Refused},
		{"SP-15 half", manifestOf("a", "")[:60], "spec", Refused},
		{"SP-9 two documents", manifestOf("a", "") + "---\n" + manifestOf("b", ""), "second document", Refused},
		{"SP-8 list", `{"apiVersion":"v1","kind":"List","items":[]}`, "one Pod", Refused},
		{"SP-7 too large", manifestOf("a", "") + strings.Repeat("# padding\n", sizeLimit/10), "read limit", Unreadable},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.write(r.path("a.yaml"), manifestOf("a", "1"))
			r.start(time.Hour)
			good := r.next()

			r.write(r.path("a.yaml"), c.content)
			bad := r.next()
			r.want(bad, valid)
			if bad.Pods[0] != good.Pods[0] {
				t.Error("the pod is another one")
			}
			p := r.problem(bad, "a.yaml", Kept, c.part)
			if p.Pod != pod.KeyOf(good.Pods[0]) || !strings.Contains(p.Hint, "remove the file") {
				t.Errorf("problem %+v", p)
			}

			r.run("and across a restart", func(t *testing.T) {
				r.stop()
				r.age("a.yaml")
				r.start(time.Hour)
				again := r.next()
				r.want(again, valid)
				if again.Pods[0].UID != good.Pods[0].UID {
					t.Error("the UID changed: the pod would be restarted")
				}
				r.problem(again, "a.yaml", Kept, c.part)
			})
			r.run("until it is good again or removed", func(t *testing.T) {
				r.write(r.path("a.yaml"), manifestOf("a", "1"))
				s := r.next()
				if len(s.Problems) != 0 || s.Pods[0].UID != good.Pods[0].UID {
					t.Errorf("problems %v", s.Problems)
				}
				r.check(os.Remove(r.path("a.yaml")))
				r.want(r.next())
				r.write(r.path("a.yaml"), c.content)
				s = r.next()
				r.want(s)
				r.problem(s, "a.yaml", c.fresh, c.part)
			})
		})
	}
}

func TestFileHalfWritten(t *testing.T) {
	r := newRig(t)
	r.write(r.path("a.yaml"), manifestOf("a", "1"))
	r.start(time.Hour)
	first := r.next()

	r.run("SP-15 a writer is waited for", func(t *testing.T) {
		f, err := os.Create(r.path("a.yaml"))
		r.check(err)
		content := manifestOf("a", "2")
		for i := range content { // a slow writer, event by event
			_, err = f.WriteString(content[i : i+1])
			r.check(err)
		}
		r.check(f.Close())
		s := r.next()
		if len(s.Problems) != 0 || s.Pods[0].UID == first.Pods[0].UID {
			t.Errorf("saw something in between: %v, problems %v", names(s), s.Problems)
		}
		r.nothingBut(s)
	})
	r.run("SP-15 but not for ever", func(*testing.T) {
		r.stop()
		r.settle = defaultSettle
		r.start(time.Hour)
		r.next()
		f, err := os.Create(r.path("b.yaml"))
		r.check(err)
		defer func() { r.check(f.Close()) }()
		_, err = f.WriteString(manifestOf("b", ""))
		r.check(err)
		s := r.next()
		if len(s.Problems) > 0 { // the writer was kept from going on for that long
			s = r.next()
		}
		r.want(s, "a-node1", "b-node1")
	})
}

// While the source is kept from hearing of it, a writer may well go on.
func TestFileWrittenUnheard(t *testing.T) { // SP-15
	r := newRig(t)
	synctest.Test(t, func(t *testing.T) {
		s := File(FileOptions{Path: r.dir, Node: "n", Interval: time.Hour, Log: slog.New(slog.DiscardHandler)})
		path, begun := r.path("a.yaml"), time.Now()
		s.note(change{path: path}, nil)
		r.write(path, "apiVersion: v1\nki")
		r.check(os.Chtimes(path, begun.Add(s.settle/2), begun.Add(s.settle/2)))
		<-s.settled()
		if quiet := s.closeSettled(time.Now()); len(quiet) > 0 {
			t.Errorf("%v was written to meanwhile", quiet)
		}
		<-s.settled()
		if quiet := s.closeSettled(time.Now()); !slices.Equal(quiet, []string{path}) || time.Since(begun) != s.settle*3/2 {
			t.Errorf("settled after %s: %v", time.Since(begun), quiet)
		}
	})
}

func TestFileDuplicates(t *testing.T) {
	r := newRig(t)
	r.write(r.path("b.yaml"), manifestOf("twin", "b"))
	r.write(r.path("c.yaml"), manifestOf("twin", "c"))
	r.start(200 * time.Millisecond)
	s := r.next()

	r.run("SP-19 the first wins and the other is reported", func(t *testing.T) {
		r.want(s, "twin-node1")
		if s.Pods[0].Spec.Containers[0].Args[0] != "b" {
			t.Error("the last won")
		}
		p := r.problem(s, "c.yaml", Duplicate, "b.yaml")
		if p.Pod.Name != "twin-node1" {
			t.Errorf("problem %+v", p)
		}
	})
	r.run("SP-19 events and lists do not flip it", func(*testing.T) {
		now := time.Now()
		r.check(os.Chtimes(r.path("c.yaml"), now, now))
		r.write(r.path("c.yaml"), manifestOf("twin", "c")+"# touched\n")
		r.nothingBut(s)
	})
	r.run("SP-19 removing the loser changes nothing for the winner", func(t *testing.T) {
		r.check(os.Remove(r.path("c.yaml")))
		after := r.next()
		if after.Pods[0] != s.Pods[0] || len(after.Problems) != 0 {
			t.Errorf("pods %v, problems %v", names(after), after.Problems)
		}
	})
	r.run("a UID given twice", func(*testing.T) {
		given := func(name string) string {
			return strings.Replace(manifestOf(name, ""), "metadata:\n", "metadata:\n  uid: mine\n", 1)
		}
		r.write(r.path("x.yaml"), given("mine1"))
		r.want(r.next(), "twin-node1", "mine1-node1")
		r.write(r.path("y.yaml"), given("mine2"))
		after := r.next()
		r.want(after, "twin-node1", "mine1-node1")
		r.problem(after, "y.yaml", Duplicate, "x.yaml")
	})
}

func TestFilePlace(t *testing.T) {
	t.Run("SP-2 a missing path is an empty set, and noticed when it comes", func(t *testing.T) {
		r := newRig(t)
		r.check(os.RemoveAll(filepath.Dir(r.dir)))
		r.start(time.Hour)
		r.want(r.next())
		r.mkdir(r.dir)
		r.write(r.path("a.yaml"), manifestOf("a", ""))
		r.want(r.next(), "a-node1")
	})
	t.Run("SP-20 the directory goes and comes back", func(t *testing.T) {
		r := newRig(t)
		r.write(r.path("a.yaml"), manifestOf("a", ""))
		r.start(time.Hour)
		first := r.next()
		r.check(os.Rename(r.dir, r.dir+".away"))
		r.want(r.next())
		r.check(os.Rename(r.dir+".away", r.dir))
		again := r.next()
		r.want(again, "a-node1")
		if again.Pods[0].UID != first.Pods[0].UID {
			t.Error("another UID")
		}
		r.write(r.path("b.yaml"), manifestOf("b", ""))
		r.want(r.next(), "a-node1", "b-node1")
	})
	t.Run("SP-2 a single file", func(t *testing.T) {
		r := newRig(t)
		dir := r.dir
		r.dir = filepath.Join(dir, "just-this")
		r.write(r.dir, manifestOf("a", "1"))
		r.start(time.Hour)
		r.want(r.next(), "a-node1")
		r.write(filepath.Join(dir, "neighbour.yaml"), manifestOf("n", ""))
		r.check(atomicfile.Write(r.dir, []byte(manifestOf("b", "2")), 0o600))
		r.want(r.next(), "b-node1")
		r.check(os.Remove(r.dir))
		r.want(r.next())
	})
	t.Run("SP-2 neither directory nor file", func(t *testing.T) {
		r := newRig(t)
		r.dir = filepath.Join(r.dir, "fifo")
		r.check(unix.Mkfifo(r.dir, 0o600))
		r.start(time.Hour)
		s := r.next()
		r.want(s)
		r.problem(s, "fifo", Unreadable, "no regular file")
	})
}

func TestFileListsNowAndThen(t *testing.T) {
	r := newRig(t)
	target := filepath.Join(filepath.Dir(r.dir), "target.yaml")
	r.write(target, manifestOf("a", "1"))
	r.check(os.Symlink(target, r.path("a.yaml")))
	r.start(50 * time.Millisecond)
	first := r.next()
	r.run("SP-1, SP-6 what a link leads to is found by the list", func(t *testing.T) {
		r.check(atomicfile.Write(target, []byte(manifestOf("a", "2")), 0o600))
		if s := r.next(); s.Pods[0].UID == first.Pods[0].UID {
			t.Error("the same pod")
		}
	})
}

// A list may come upon a file before its writer is done with it.
func TestFileListedWhileItIsWritten(t *testing.T) {
	for name, before := range map[string]string{"a new one": "", "another version": manifestOf("a", "1")} {
		t.Run("SP-15 "+name, func(t *testing.T) {
			r := newRig(t)
			if before != "" {
				r.write(r.path("a.yaml"), before)
			}
			synctest.Test(t, func(*testing.T) { r.listHalf(before) })
		})
	}
}

// listHalf lists half a manifest, of which nothing was heard, just after it was
// written and once nobody can be at it any more. What was there before is only
// remembered by then.
func (r *rig) listHalf(remembered string) {
	s := File(FileOptions{Path: r.dir, Node: "n", Interval: time.Hour, Log: slog.New(slog.DiscardHandler)})
	s.memory = openMemory("", s.o.Log)
	defer s.memory.close()
	s.scan(nil)
	first := s.snapshot()
	if remembered != "" { // from before a restart
		s.files, s.memory.before = map[string]*file{}, map[string][]byte{r.path("a.yaml"): []byte(remembered)}
	}
	r.write(r.path("a.yaml"), "apiVersion: v1\nki")
	r.check(os.Chtimes(r.path("a.yaml"), time.Now(), time.Now()))
	s.scan(nil)
	if half := s.snapshot(); !slices.Equal(uids(half), uids(first)) || len(half.Problems) > 0 || len(s.writing) != 1 {
		r.Errorf("pods %v, problems %v", names(half), half.Problems)
	}
	<-s.settled()
	quiet := s.closeSettled(time.Now())
	s.scan(func(path string) bool { return slices.Contains(quiet, path) })
	if bad := s.snapshot(); !slices.Equal(uids(bad), uids(first)) || len(bad.Problems) != 1 {
		r.Errorf("pods %v, problems %v", names(bad), bad.Problems)
	}
}

func uids(s Snapshot) []types.UID {
	var all []types.UID
	for _, p := range s.Pods {
		all = append(all, p.UID)
	}
	return all
}

func TestFileWithoutInotify(t *testing.T) {
	r := newRig(t)
	r.write(r.path("a.yaml"), manifestOf("a", ""))
	s := File(FileOptions{Path: r.dir, Node: "n", Interval: time.Hour, Log: slog.New(slog.DiscardHandler)})
	r.run("SP-6 a watch that fails is tried again after 1 s to 20 s", func(t *testing.T) {
		s.o.Path = r.path(strings.Repeat("x", 300)) // no name is that long
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 20, 20} {
			s.arm()
			if got := s.untilList(); got != want*time.Second {
				t.Errorf("retry after %s, want %d s", got, want)
			}
		}
		if len(s.unwatched) != 1 || s.unwatched[0].Reason != Unwatched || s.unwatched[0].Hint == "" {
			t.Errorf("problems %v", s.unwatched)
		}
		s.o.Path = r.dir
		s.arm()
		if s.watch == nil || len(s.unwatched) != 0 || s.untilList() != time.Hour {
			t.Error("not recovered")
		}
		s.dropWatch()
	})
}
