/* spc as a library: compile a program, bind its weights, call its functions.

   Functions return SPC_OK or another status, and leave what the caller owns as it was where they fail; spc_last_error says
   why in words. Names and paths are UTF-8 text that ends in a zero byte. Nothing that is passed in is kept: arrays and
   texts are copied, except that updates change parameters in place while they run. No call ends the process, whatever the text, names, shapes and values are; pointers must be what they
   are said to be. */
#ifndef SPC_H
#define SPC_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPC_ABI_VERSION 1

#ifndef SPC_STATUS
#define SPC_STATUS
/* What functions return. */
enum spc_status {
  SPC_OK = 0,
  SPC_NULL = 1,        /* a pointer that must not be null is */
  SPC_SIZE = 2,        /* a size lies outside its range */
  SPC_ALIGNMENT = 3,   /* a pointer is not a multiple of what it must be */
  SPC_WORKSPACE = 4,   /* the workspace is too small */
  SPC_WEIGHTS = 5,     /* the weights are not those that the code was made for */
  SPC_INDEX_RANGE = 6, /* an id lies outside its axis; the outputs are not defined */
  SPC_SCORE = 7        /* a score is NaN, or there is nothing to choose from; the outputs are not defined */
};

/* Threads of the caller. run calls task(data, part) once for each part in 0..parts, on any threads and in any order, and
   returns when all calls have returned. count is the number of threads that it uses. */
typedef struct spc_threads {
  void (*run)(void *context, size_t parts, void (*task)(void *data, size_t part), void *data);
  void *context;
  size_t count;
} spc_threads;

/* The version of this interface that the code was made for: must be SPC_ABI_VERSION. */
int32_t spc_abi_version(void);
#endif

/* What the functions below return as well. */
enum spc_failure {
  SPC_PROGRAM = 16,  /* the program is wrong */
  SPC_NAME = 17,     /* a name that is not there */
  SPC_PROMISE = 18,  /* a promise of the program does not hold */
  SPC_INPUT = 19,    /* a file, a weight or an input does not fit, or the machine cannot run this */
  SPC_UTF8 = 20,     /* a text is not UTF-8 */
  SPC_HANDLE = 21,   /* a pointer to something else, or to what a failed call left empty */
  SPC_BUG = 101      /* a mistake of spc, which should be reported */
};

/* Types of elements. */
enum spc_type {
  SPC_F32 = 0,  /* float */
  SPC_I32 = 1,  /* int32_t */
  SPC_BOOL = 2  /* uint8_t: 0, or anything else for true; results are 0 or 1 */
};

/* An array of the caller: contiguous, row-major, aligned to its elements. A call does not write to its inputs. */
typedef struct spc_array {
  const char *name;
  void *data;
  const int64_t *shape;
  size_t rank; /* at most 16 */
  int32_t type;
} spc_array;

/* Settings; zeros stand for what spc chooses itself. */
typedef struct spc_options {
  size_t threads;    /* that kernels run on */
  const char *isa;   /* "clif", "avx2", "avx512", "avx512vnni", "avx512amx": instruction set of the kernels */
  const char *base;  /* folder that relative paths of the text start from */
  int32_t interpret; /* not 0: the reference interpreter instead of compiled code */
} spc_options;

/* A program that passed its checks and is given its weights. Used by one thread at a time. */
typedef struct spc_checked spc_checked;
/* A program that can be called, by several threads at a time. */
typedef struct spc_program spc_program;

/* What went wrong in the last call of this thread that failed, as the spc command shows it; empty before the first. Valid until the
   next call of this thread that fails. */
const char *spc_last_error(void);

/* Checks a text of that many bytes. options may be null. What *checked then points to belongs to the caller: spc_free_checked. */
int32_t spc_compile(const char *text, size_t bytes, const spc_options *options, spc_checked **checked);
/* The same for a file, whose folder relative paths start from. */
int32_t spc_compile_file(const char *path, const spc_options *options, spc_checked **checked);
/* Gives a weight its values, in the declared shape, in place of those of the weight file. */
int32_t spc_bind(spc_checked *checked, const spc_array *weight);
/* Applies every require, packs the weights and compiles. Empties *checked, also where it fails; it is still to be freed. What
   *program then points to belongs to the caller: spc_free_program. */
int32_t spc_build(spc_checked *checked, spc_program **program);
/* Loads a folder that spc compile wrote. options may be null. */
int32_t spc_load(const char *folder, const spc_options *options, spc_program **program);
/* Calls a function. Inputs and outputs are found by name, in any order; outputs that are not named are not given. Each output
   has the type and shape that the function gives it for the sizes of the inputs. */
int32_t spc_call(const spc_program *program, const char *function, const spc_array *inputs, size_t input_count,
                 const spc_array *outputs, size_t output_count);
/* Free what was given out, once; null is allowed. */
void spc_free_checked(spc_checked *checked);
void spc_free_program(spc_program *program);

/* Training: updates compiled from the constraints and penalties of a program; docs/training.md says what a step does. */
enum spc_optimizer_kind {
  SPC_SGD = 0,   /* momentum, weight_decay */
  SPC_ADAMW = 1, /* beta1, beta2, eps, weight_decay */
  SPC_OUTSIDE = 2 /* your own, between spc_before and spc_after: moments; beta2 and eps where it is like Adam, else 0 */
};
typedef struct spc_optimizer {
  int32_t kind;
  double momentum, beta1, beta2, eps, weight_decay;
  uint32_t moments; /* arrays of a parameter's shape that it keeps for each parameter */
} spc_optimizer;

/* What a program asks of its weights during a run of a number of steps. Used by several threads at a time. */
typedef struct spc_plan spc_plan;
/* The memory of a run: masks, moments, the weights behind masks. Used by one thread at a time. */
typedef struct spc_state spc_state;
/* Called once for each `observe` of the program, while spc_update runs; must not call functions of that state. */
typedef void (*spc_observer)(void *context, const char *rule, const char *name, double value);

/* Makes the plan of runs of that many steps; checked stays as it is. What *plan then points to belongs to the caller:
   spc_free_updates. */
int32_t spc_updates(spc_checked *checked, const spc_optimizer *optimizer, uint64_t steps, spc_plan **plan);
/* Why steps run in the slow reference interpreter; null: they are compiled. Valid as long as the plan. */
const char *spc_updates_interpreted(const spc_plan *plan);
/* One-shot pruning, without a run: params, all weights of the program, meet every constraint of it then, as at the end of a run.
   Weights that are NaN or infinite are SPC_INPUT, and then some params may have been pruned. A constraint that ranks by gradients
   is SPC_PROGRAM. */
int32_t spc_project(const spc_plan *plan, const spc_array *params, size_t count);
/* Begins a run. params are all weights of the program, floats of the declared shapes; they become what the program reads first.
   What *state then points to belongs to the caller: spc_free_state. */
int32_t spc_start(const spc_plan *plan, const spc_array *params, size_t count, spc_state **state);
/* Takes step `step`, the next one, with a learning rate. params become what the program reads next, and after the last step the
   weights as they are deployed. grads are with respect to what it read. No array that is changed may share memory with
   another one. observer may be null. Where it fails with a refusal of its arguments nothing has changed; weights that
   the step itself made NaN or infinite are SPC_INPUT, and then params and state are lost. */
int32_t spc_update(const spc_plan *plan, uint64_t step, const spc_array *params, size_t param_count,
                   const spc_array *grads, size_t grad_count, float rate, spc_state *state, spc_observer observer,
                   void *context);
/* A step around an optimiser of your own (SPC_OUTSIDE), in two halves. spc_before makes params the weights themselves for your
   optimiser to move, and mapped the gradients with respect to them, of the parameters for which spc_maps_gradient is 1; of the
   others grads are that already. spc_after takes the moved weights, the same grads, the rate, and in moments the arrays that your
   optimiser remembers, those of one parameter one behind the other under its name (Adam: average, then average of squares); masks clear
   what they leave out. It makes params what the program reads next. */
int32_t spc_maps_gradient(const spc_plan *plan, const char *name);
int32_t spc_before(const spc_plan *plan, uint64_t step, const spc_array *params, size_t param_count,
                   const spc_array *grads, size_t grad_count, const spc_array *mapped, size_t mapped_count,
                   spc_state *state);
int32_t spc_after(const spc_plan *plan, uint64_t step, const spc_array *params, size_t param_count,
                  const spc_array *grads, size_t grad_count, const spc_array *moments, size_t moment_count, float rate,
                  spc_state *state, spc_observer observer, void *context);
/* A log of a run: spc_log begins it at these params, spc_log_line makes a line of JSON after any step, for `spc plot`. The line has no
   end of line, and is valid until the next call with that log. What *log points to belongs to the caller: spc_free_log. */
typedef struct spc_run_log spc_run_log;
int32_t spc_log(const spc_plan *plan, const spc_array *params, size_t count, spc_run_log **log);
int32_t spc_log_line(const spc_plan *plan, spc_run_log *log, const spc_array *params, size_t count, spc_state *state,
                     const char **line);
/* Writes the state as a safetensors file, to be kept beside the parameters; and goes on from one, to the bit. */
int32_t spc_save_state(const spc_plan *plan, spc_state *state, const char *path);
int32_t spc_load_state(const spc_plan *plan, const char *path, spc_state **state);
/* Free what was given out, once; null is allowed. */
void spc_free_updates(spc_plan *plan);
void spc_free_state(spc_state *state);
void spc_free_log(spc_run_log *log);

#ifdef __cplusplus
}
#endif
#endif
