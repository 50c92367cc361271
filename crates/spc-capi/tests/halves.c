/* Steps in two halves around an optimiser in C: the same bits as whole steps of spc's own; lines of a log; mistakes. */
#include "spc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                     \
  do {                                                                                  \
    if (!(what)) {                                                                      \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what, spc_last_error());          \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

enum { N = 8, M = 2, STEPS = 20 };

static const char text[] =
    "use std.updates.sr_ste\n"
    "axis B = 1..64\n"
    "model net { axes { I = 4, O = 2 }  w: f32[O, I]  b: f32[O] }\n"
    "fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] + net.b[o] }\n"
    "require half: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste(lambda: 0.01)\n";

static const int64_t shape[2] = {2, 4}, flat[1] = {M};
static int seen;

static void observe(void *context, const char *rule, const char *name, double value) {
  CHECK(context == &seen && strcmp(rule, "half") == 0 && strlen(name) > 0 && value >= 0);
  seen++;
}

int main(void) {
  spc_checked *checked = NULL;
  CHECK(spc_compile(text, strlen(text), NULL, &checked) == SPC_OK);
  spc_optimizer sgd = {SPC_SGD, 0.5, 0, 0, 0, 0, 0}, own = {SPC_OUTSIDE, 0, 0, 0, 0, 0, 1};
  spc_optimizer many = {SPC_OUTSIDE, 0, 0, 0, 0, 0, 9}, adam = {SPC_OUTSIDE, 0, 0, 0.9, 1e-8, 0, 1};
  spc_plan *whole = NULL, *halves = NULL;
  CHECK(spc_updates(checked, &many, STEPS, &halves) == SPC_INPUT);
  CHECK(spc_updates(checked, &adam, STEPS, &halves) == SPC_INPUT && halves == NULL);
  CHECK(spc_updates(checked, &sgd, STEPS, &whole) == SPC_OK);
  CHECK(spc_updates(checked, &own, STEPS, &halves) == SPC_OK);
  CHECK(spc_maps_gradient(halves, "net.w") == 1 && spc_maps_gradient(halves, "net.b") == 0);
  CHECK(spc_maps_gradient(halves, "net.v") == 0 && spc_maps_gradient(NULL, "net.w") == 0);

  float w[N] = {0.1f, 0.2f, -0.3f, 0.4f, 0.5f, -0.6f, 0.7f, 0.8f}, b[M] = {0}, w2[N], b2[M] = {0};
  float g[N], h[M], mapped[N], mw[N] = {0}, mb[M] = {0};
  memcpy(w2, w, sizeof w);
  spc_array one[2] = {{"net.w", w, shape, 2, SPC_F32}, {"net.b", b, flat, 1, SPC_F32}};
  spc_array two[2] = {{"net.w", w2, shape, 2, SPC_F32}, {"net.b", b2, flat, 1, SPC_F32}};
  spc_array grads[2] = {{"net.w", g, shape, 2, SPC_F32}, {"net.b", h, flat, 1, SPC_F32}};
  spc_array maps[1] = {{"net.w", mapped, shape, 2, SPC_F32}};
  spc_array moments[2] = {{"net.w", mw, shape, 2, SPC_F32}, {"net.b", mb, flat, 1, SPC_F32}};
  spc_state *a = NULL, *c = NULL;
  CHECK(spc_start(whole, one, 2, &a) == SPC_OK && spc_start(halves, two, 2, &c) == SPC_OK);
  spc_run_log *log = NULL;
  const char *line = NULL;
  CHECK(spc_log(halves, two, 1, &log) != SPC_OK && log == NULL);
  CHECK(spc_log(halves, two, 2, NULL) == SPC_NULL);
  CHECK(spc_log(halves, two, 2, &log) == SPC_OK && log != NULL);
  CHECK(spc_log_line(halves, log, two, 2, c, NULL) == SPC_NULL);
  CHECK(spc_log_line(halves, (spc_run_log *)c, two, 2, c, &line) == SPC_HANDLE);

  for (int step = 0; step < STEPS; step++) {
    CHECK(memcmp(w, w2, sizeof w) == 0 && memcmp(b, b2, sizeof b) == 0);
    for (int i = 0; i < N; i++) g[i] = w[i] - 0.25f * (float)((i * 5 + step) % 7 - 3);
    for (int i = 0; i < M; i++) h[i] = b[i] - 1;
    CHECK(spc_update(whole, (uint64_t)step, one, 2, grads, 2, 0.1f, a, NULL, NULL) == SPC_OK);

    uint64_t s = (uint64_t)step;
    CHECK(spc_after(halves, s, two, 2, grads, 2, moments, 2, 0.1f, c, NULL, NULL) != SPC_OK);
    CHECK(spc_before(halves, s, two, 2, grads, 2, NULL, 0, c) != SPC_OK);
    spc_array shared = maps[0];
    shared.data = w2;
    CHECK(spc_before(halves, s, two, 2, grads, 2, &shared, 1, c) == SPC_INPUT);
    CHECK(spc_before(halves, s, two, 2, grads, 2, maps, 1, c) == SPC_OK);
    CHECK(spc_before(halves, s, two, 2, grads, 2, maps, 1, c) != SPC_OK);
    for (int i = 0; i < N; i++) {
      mw[i] = 0.5f * mw[i] + mapped[i];
      w2[i] = w2[i] - 0.1f * mw[i];
    }
    for (int i = 0; i < M; i++) {
      mb[i] = 0.5f * mb[i] + h[i];
      b2[i] = b2[i] - 0.1f * mb[i];
    }
    /* The first parameter has a rule, so its moments are needed; those of the other are not. */
    CHECK(spc_after(halves, s, two, 2, grads, 2, moments + 1, 1, 0.1f, c, NULL, NULL) != SPC_OK);
    CHECK(spc_after(halves, s, two, 2, grads, 2, moments, 1 + step % 2, 0.1f, c, observe, &seen) == SPC_OK);
  }
  CHECK(seen == STEPS);
  CHECK(spc_update(halves, STEPS, two, 2, grads, 2, 0.1f, c, NULL, NULL) != SPC_OK);
  CHECK(memcmp(w, w2, sizeof w) == 0 && memcmp(b, b2, sizeof b) == 0);
  CHECK(spc_log_line(halves, log, two, 2, c, &line) == SPC_OK);
  CHECK(strstr(line, "\"step\":20") != NULL && strstr(line, "\"density\":0.5") != NULL);
  CHECK(strstr(line, "half.sad") != NULL);
  spc_free_log(log);
  spc_free_log(NULL);
  spc_free_state(a);
  spc_free_state(c);
  spc_free_updates(whole);
  spc_free_updates(halves);
  spc_free_checked(checked);
  puts("fine");
  return 0;
}
