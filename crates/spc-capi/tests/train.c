/* A training run in C: least squares under 2:4 with SR-STE, beside the same steps by hand; stopping and going on; mistakes. */
#include "spc.h"

#include <math.h>
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

enum { N = 8, STEPS = 40 };

static const char text[] =
    "use std.updates.sr_ste\n"
    "axis B = 1..64\n"
    "model net { axes { I = 4, O = 2 }  w: f32[O, I] }\n"
    "fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }\n"
    "require half: keep 2 of 4 of elements per tile(in: 4) via sr_ste(lambda: 0.01)\n";

static const float target[N] = {1, -2, 0.5f, 0.25f, -0.5f, 0.75f, 3, -1};
static const int64_t shape[2] = {2, 4};

/* The two greatest of each four, ties to the lower index. */
static void choose(const float *w, int *mask) {
  for (int i = 0; i < N; i++) {
    int before = 0;
    for (int j = i / 4 * 4; j < i / 4 * 4 + 4; j++) {
      float a = fabsf(w[j]), b = fabsf(w[i]);
      before += a > b || (a == b && j < i);
    }
    mask[i] = before < 2;
  }
}

static int seen;

static void observe(void *context, const char *rule, const char *name, double value) {
  CHECK(context == &seen && strcmp(rule, "half") == 0 && strlen(name) > 0 && value >= 0);
  seen++;
}

int main(void) {
  spc_checked *checked = NULL;
  CHECK(spc_compile(text, strlen(text), NULL, &checked) == SPC_OK);
  spc_optimizer sgd = {SPC_SGD, 0.9, 0, 0, 0, 0, 0}, odd = {7, 0, 0, 0, 0, 0, 0}, steep = {SPC_SGD, 1.5, 0, 0, 0, 0, 0};
  spc_plan *plan = NULL;
  CHECK(spc_updates(checked, NULL, STEPS, &plan) == SPC_NULL);
  CHECK(spc_updates(NULL, &sgd, STEPS, &plan) == SPC_NULL);
  CHECK(spc_updates(checked, &odd, STEPS, &plan) == SPC_NAME);
  CHECK(spc_updates(checked, &steep, STEPS, &plan) == SPC_INPUT);
  CHECK(spc_updates(checked, &sgd, 0, &plan) != SPC_OK && plan == NULL);
  CHECK(spc_updates(checked, &sgd, STEPS, NULL) == SPC_NULL);
  CHECK(spc_updates(checked, &sgd, STEPS, &plan) == SPC_OK && plan != NULL);
  CHECK(spc_updates_interpreted(plan) == NULL);

  float w[N] = {0.1f, 0.2f, -0.3f, 0.4f, 0.5f, -0.6f, 0.7f, 0.8f}, g[N], dense[N], moment[N] = {0};
  memcpy(dense, w, sizeof w);
  spc_array a = {"net.w", w, shape, 2, SPC_F32}, grad = {"net.w", g, shape, 2, SPC_F32};
  /* Pruning without a run, twice the same; mistakes change nothing. */
  int mask[N];
  float once[N] = {3, -3, 3, 3, -0.5f, 0.25f, 4, -4}, whole[N];
  memcpy(whole, once, sizeof once);
  spc_array one = {"net.w", once, shape, 2, SPC_F32}, other = one;
  const int64_t tall[2] = {4, 2};
  other.shape = tall;
  CHECK(spc_project(plan, &other, 1) == SPC_SIZE);
  other = one, other.name = "net.v";
  CHECK(spc_project(plan, &other, 1) == SPC_NAME);
  const spc_array twice[2] = {one, one};
  CHECK(spc_project(plan, twice, 2) == SPC_INPUT && strstr(spc_last_error(), "shares memory") != NULL);
  CHECK(spc_project(plan, NULL, 0) == SPC_INPUT && spc_project(plan, NULL, 1) == SPC_NULL);
  CHECK(spc_project(NULL, &one, 1) == SPC_NULL && spc_project((spc_plan *)checked, &one, 1) == SPC_HANDLE);
  CHECK(memcmp(once, whole, sizeof once) == 0);
  once[6] = NAN;
  CHECK(spc_project(plan, &one, 1) == SPC_INPUT && strstr(spc_last_error(), "index 6") != NULL);
  memcpy(once, whole, sizeof once);
  choose(whole, mask);
  for (int again = 0; again < 2; again++) {
    CHECK(spc_project(plan, &one, 1) == SPC_OK);
    for (int i = 0; i < N; i++) CHECK(once[i] == (mask[i] ? whole[i] : 0) && (mask[i] || !signbit(once[i])));
  }

  spc_state *state = NULL;
  int64_t flat[1] = {N};
  spc_array bad = a;
  bad.shape = flat, bad.rank = 1;
  CHECK(spc_start(plan, &bad, 1, &state) == SPC_SIZE);
  bad = a, bad.name = "net.v";
  CHECK(spc_start(plan, &bad, 1, &state) == SPC_NAME);
  bad = a, bad.type = SPC_I32;
  CHECK(spc_start(plan, &bad, 1, &state) == SPC_INPUT);
  CHECK(spc_start(plan, NULL, 0, &state) == SPC_INPUT);
  CHECK(spc_start((spc_plan *)checked, &a, 1, &state) == SPC_HANDLE && state == NULL);
  CHECK(spc_start(plan, &a, 1, &state) == SPC_OK && state != NULL);

  for (int step = 0; step < STEPS; step++) {
    choose(dense, mask);
    for (int i = 0; i < N; i++) {
      CHECK(w[i] == (mask[i] ? dense[i] : 0));
      g[i] = w[i] - target[i];
    }
    if (step == 3) {
      float kept[N];
      memcpy(kept, w, sizeof w);
      spc_array shared = grad;
      shared.data = w;
      CHECK(spc_update(plan, 3, &a, 1, &shared, 1, 0.1f, state, NULL, NULL) == SPC_INPUT);
      CHECK(strstr(spc_last_error(), "shares memory") != NULL);
      CHECK(spc_update(plan, 4, &a, 1, &grad, 1, 0.1f, state, NULL, NULL) != SPC_OK);
      CHECK(spc_update(plan, 3, &a, 1, NULL, 0, 0.1f, state, NULL, NULL) != SPC_OK);
      CHECK(spc_update(plan, 3, &a, 1, &grad, 1, 0.1f, (spc_state *)plan, NULL, NULL) == SPC_HANDLE);
      g[5] = NAN;
      CHECK(spc_update(plan, 3, &a, 1, &grad, 1, 0.1f, state, NULL, NULL) == SPC_INPUT);
      g[5] = w[5] - target[5];
      CHECK(memcmp(kept, w, sizeof w) == 0);
    }
    if (step == STEPS / 2) {
      /* Stop, and go on from the file. */
      CHECK(spc_save_state(plan, state, "state.safetensors") == SPC_OK);
      CHECK(spc_save_state(plan, state, "no/such/folder") == SPC_INPUT);
      spc_free_state(state);
      state = NULL;
      CHECK(spc_load_state(plan, "nothing.safetensors", &state) == SPC_INPUT && state == NULL);
      CHECK(spc_load_state(plan, "state.safetensors", &state) == SPC_OK);
    }
    CHECK(spc_update(plan, (uint64_t)step, &a, 1, &grad, 1, 0.1f, state, observe, &seen) == SPC_OK);
    for (int i = 0; i < N; i++) {
      float x = g[i] + (mask[i] ? 0 : 0.01f * dense[i]);
      moment[i] = 0.9f * moment[i] + x;
      dense[i] -= 0.1f * moment[i];
    }
  }
  CHECK(seen >= STEPS);
  choose(dense, mask);
  for (int i = 0; i < N; i++) CHECK(w[i] == (mask[i] ? dense[i] : 0));
  CHECK(spc_update(plan, STEPS, &a, 1, &grad, 1, 0.1f, state, NULL, NULL) != SPC_OK);

  spc_free_state(state);
  spc_free_updates(plan);
  spc_free_state(NULL);
  spc_free_updates(NULL);
  spc_free_checked(checked);
  puts("fine");
  return 0;
}
