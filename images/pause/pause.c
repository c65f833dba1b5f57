// pause is the first process of every pod sandbox: it holds the pod's
// namespaces open, reaps what the pod leaves behind when it shares its process
// namespace, and ends at once when asked to.
//
// It is C and not Go because there is one per pod: without a runtime, a sandbox
// costs one thread and a few pages.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

// reap collects every child that has ended. Signals of one kind coalesce, so
// one SIGCHLD can stand for many children.
static void reap(void) {
  while (waitpid(-1, NULL, WNOHANG) > 0)
    ;
}

int main(void) {
  // The signals stay blocked and are taken one by one. The kernel drops signals
  // for which the first process of a namespace has no handler, but never
  // blocked ones, and so none can slip in before main is ready for it.
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  sigaddset(&wanted, SIGINT);
  sigaddset(&wanted, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0) {
    fprintf(stderr, "pause: block signals: %s\n", strerror(errno));
    return EXIT_FAILURE;
  }

  reap(); // children that ended before the signals were blocked
  for (;;) {
    int got = sigwaitinfo(&wanted, NULL);
    if (got == SIGINT || got == SIGTERM)
      return EXIT_SUCCESS;
    if (got == SIGCHLD)
      reap();
  }
}
