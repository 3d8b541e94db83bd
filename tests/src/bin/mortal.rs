//! Controller, manager and a scripted meeting-bot in one program, by the name that it is called by: the first two die where they are
//! told to. See `tests::mortal`.

fn main() -> std::process::ExitCode {
    tests::mortal::run()
}
