#include "actor/recovery.h"

namespace flowawr {

RegisterAction AfterRegister(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return RegisterAction::kProceed;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnimplemented:
      return RegisterAction::kGiveUp;
    default:
      return RegisterAction::kRetry;
  }
}

LeaseAction AfterAcquire(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return LeaseAction::kProceed;
    case absl::StatusCode::kDeadlineExceeded:
      return LeaseAction::kAskAgain;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnimplemented:
      return LeaseAction::kGiveUp;
    default:
      return LeaseAction::kReregister;
  }
}

bool IsForgotten(const absl::Status& heartbeat) { return absl::IsFailedPrecondition(heartbeat); }

SubmitAction AfterSubmit(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kAlreadyExists:
      return SubmitAction::kDone;
    case absl::StatusCode::kNotFound:
      return SubmitAction::kForget;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return SubmitAction::kFail;
    default:
      return SubmitAction::kRetry;  // also DATA_LOSS: the bytes were damaged on the way
  }
}

}  // namespace flowawr
